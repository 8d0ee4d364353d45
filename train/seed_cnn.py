"""The article's network: convolution and max-pooling, flatten, dropout, one sigmoid.

A uint8 (batch, height, width, 1) picture enters and is divided by 255. `logit` (batch, 1) leaves,
whose sigmoid is the article's output, and `embedding`, the flattened features that it weighs. It
is here to be compared with, not to ship: nothing in it or around it resists a shortcut.
"""

import keras
from keras import layers

from train.config import SeedCnnSpec


def build_seed_cnn(spec: SeedCnnSpec) -> keras.Model:
    """Build the network with fresh weights."""
    image = keras.Input((spec.height, spec.width, 1), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255, name="normalize")(image)
    for index, filters in enumerate(spec.filters):
        x = layers.Conv2D(
            filters, spec.kernel, padding="same", activation="relu", name=f"conv{index}"
        )(x)
        x = layers.MaxPooling2D(name=f"pool{index}")(x)
    embedding = layers.Flatten(name="embedding")(x)
    dropped = layers.Dropout(spec.dropout, name="dropout")(embedding)
    logit = layers.Dense(1, name="logit", dtype="float32")(dropped)
    return keras.Model(image, {"logit": logit, "embedding": embedding}, name="seed_cnn")
