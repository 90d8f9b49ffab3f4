"""The helper package of the book "Variational Autoencoders, Checked".

Modules are named by concept and are imported by name, for instance
`from vae_tutorial.distributions import Normal`. Importing the package itself loads nothing.
"""

__version__ = "0.1.0"
