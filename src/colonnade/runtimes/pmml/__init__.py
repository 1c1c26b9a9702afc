"""PMML: models that R, KNIME, Spark and scikit-learn export as XML, evaluated here without a Java machine.

An XML document becomes closures once, when it is loaded; what this room cannot evaluate exactly is refused then, by
the element's name, and never guessed. It knows rows of named values and no protocol except in `adapter`, which is
where to start; then `models`, which puts a model together, and one file for each kind of model. Source of all
semantics: the PMML 4.4 specification of the Data Mining Group; where it is silent, what JPMML does.
"""
