"""Feature networks: small networks that are trained once on a data set, in whose features quality is measured.

A distance means something only together with the network it was measured with, which `FeatureNet.about` identifies.
`modules` has the networks, `recipe` trains them, `store` reads and writes files, `loader` finds the network of a data
set, and `make` made the one that ships with Gantry.
"""

from gan.quality.features.feature_net import FeatureNet
from gan.quality.features.loader import for_dataset
from gan.quality.features.modules import FeatureOutput
from gan.quality.features.store import FeaturesUnreadableError

__all__ = ["FeatureNet", "FeatureOutput", "FeaturesUnreadableError", "for_dataset"]
