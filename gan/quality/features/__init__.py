"""The eye of an evaluation: a small network that was trained once on the data set, and what it says of an image.

Quality is measured in its features. Whoever quotes a distance must say of which network: `FeatureNet.about` does.
`gan.quality.features.network` is its shape, `recipe` how it learns, `store` how it is kept, `make` wrote the one that ships.
"""

from gan.quality.features.kept import for_dataset
from gan.quality.features.net import FeatureNet
from gan.quality.features.network import FeatureOutput
from gan.quality.features.store import FeaturesUnreadableError

__all__ = ["FeatureNet", "FeatureOutput", "FeaturesUnreadableError", "for_dataset"]
