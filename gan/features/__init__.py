"""The eye of an evaluation: a small network that was trained once on the data set, and what it says of an image.

Quality is measured in its features. Whoever quotes a distance must say of which network: `FeatureNet.about` does.
`gan.features.network` is its shape, `recipe` how it learns, `store` how it is kept, `make` wrote the one that ships.
"""

from gan.features.kept import for_dataset
from gan.features.net import FeatureNet
from gan.features.network import Seen
from gan.features.store import FeaturesUnreadable

__all__ = ["FeatureNet", "FeaturesUnreadable", "Seen", "for_dataset"]
