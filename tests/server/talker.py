"""A model that answers whole or in parts, as its request says, for the tests of streams.

A row that begins with 0 has its other numbers answered one by one; -1 among them goes on for ever, -2 fails. Any other
row is doubled; one that begins with less than 0 is refused, one with 1000 waits for the file `gate` beside the model.
The file `ended` gets a letter at the end of each answer in parts.
"""

CODE = """
    import asyncio
    from pathlib import Path

    import numpy as np
    from colonnade import InferenceError, InvalidInput, Model

    FOLDER = Path(__file__).parent

    class Talker(Model):
        async def predict(self, x: np.ndarray):
            if x[0, 0] == 0:
                return self.parts(x[0, 1:])
            if x[0, 0] < 0:
                raise InvalidInput("less than nothing")
            if x[0, 0] == 1000:
                while not (FOLDER / "gate").exists():
                    await asyncio.sleep(0.005)
            return x * 2

        async def parts(self, numbers):
            try:
                for number in numbers:
                    if number == -2:
                        raise InferenceError("no words left")
                    while number == -1:
                        yield np.array([number])
                        await asyncio.sleep(0.005)
                    yield np.array([number])
            finally:
                with (FOLDER / "ended").open("a") as file:
                    file.write("x")
"""
LIVE = 'requests_in_flight{model_name="m"}'  # of the model `m`, in metrics
