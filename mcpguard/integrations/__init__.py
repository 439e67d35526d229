"""One module for each framework, imported on use, with an extra of the same name.

Each puts a guard where the framework's messages really pass, by the framework's public extension points
wherever it has them; the policy is the same for all. Above: nothing but the command line. Below: `Guard`.
"""
