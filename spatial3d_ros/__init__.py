"""Ask a robot with an RGB-D camera where things are, how far apart they are, and what they are."""

from pkgutil import extend_path

# In a checkout our modules stand here and the generated msg, srv and action in colcon's install/;
# both are this package, whichever of the two Python finds first.
__path__ = extend_path(__path__, __name__)
