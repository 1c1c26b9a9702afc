"""Who may talk to the product, and how the talk is kept private: bearer tokens and TLS certificates.

It makes secrets, keeps them in files that only the owner reads, and compares them; it must not know what a token opens,
and nothing of it is ever logged. Start reading at `tokens.py`, then `certificates.py`.
"""
