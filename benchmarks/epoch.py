"""How long does an epoch of Japanese Vowels take?"""

import rnncore as rn
from rnncore.train import Dataset, Trainer


class JapaneseVowels:
    """One pass over 270 ragged sequences in batches of 32, 64 units in each direction, Adam."""

    params = ["vanilla", "gru", "lstm"]
    param_names = ["cell"]
    version = "1"

    def setup(self, cell):
        train, _ = rn.data.japanese_vowels()
        self.data = Dataset(train.standardize().x, train.y)
        layer = rn.topologies.bidirectional(rn.cells[cell](64))
        net = rn.Network(layer, inputs=12, outputs=9, mode="many-to-one")
        self.trainer = Trainer(
            net, loss="cross_entropy", optimizer="adam", learning_rate=3e-3, clip_norm=1.0, epochs=1, progress=False
        )
        self.trainer.fit(self.data)

    def time_epoch(self, cell):
        self.trainer.fit(self.data)
