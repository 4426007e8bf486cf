"""What others measured of low-bit networks on ARM cores; `arm_model.py` prints it beside our model.

Sources: README of Larq Compute Engine; Zhang et al., daBNN (ACM MM 2019), and its README; Fromm et
al., Riptide (MLSys 2020); slides of the authors of IR-Net (CVPR 2020).
"""

from results import Table

# (who and where, device, network, milliseconds), one thread; all measured and published.
PUBLISHED = (
    ("Larq Compute Engine, README", "Raspberry Pi 4B, A72 1.5 GHz", "QuickNetSmall, W1A1", 27.7),
    ("Larq Compute Engine, README", "Raspberry Pi 4B, A72 1.5 GHz", "QuickNet, W1A1", 45.0),
    ("Larq Compute Engine, README", "Raspberry Pi 4B, A72 1.5 GHz", "QuickNetLarge, W1A1", 77.0),
    ("Larq Compute Engine, README", "Pixel 1, Kryo", "Bi-Real-18, W1A1", 41.6),
    ("daBNN (ACM MM 2019)", "Pixel 1, Kryo", "Bi-Real-18, W1A1", 61.3),
    ("daBNN (ACM MM 2019)", "Pixel 1, Kryo", "Bi-Real-18 with its stem, W1A1", 43.2),
    (
        "IR-Net's authors' slides, by daBNN",
        "Raspberry Pi 3B, A53 1.2 GHz",
        "ResNet-18, W1A1",
        252.0,
    ),
    ("IR-Net's authors' slides, by NCNN", "Raspberry Pi 3B, A53 1.2 GHz", "ResNet-18, fp32", 935.0),
)
# (layer, milliseconds): daBNN's binary 3x3 layers on a Pixel 1.
DABNN = {
    "layer1.0.conv1": 1.29,
    "layer2.0.conv2": 0.99,
    "layer3.0.conv2": 1.02,
    "layer4.0.conv2": 1.23,
}
RIPTIDE = "Riptide (MLSys 2020) measured 4 to 12 times the speed of fp32 on a Raspberry Pi 3"


def published_table() -> Table:
    """What others measured on boards. Other networks, other conditions: an order of magnitude."""
    columns = ["who", "device", "network", "measured ms"]
    return Table("Published, MEASURED, one thread", columns, PUBLISHED)
