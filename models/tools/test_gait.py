"""Tests of the gait model's tools: `.venv/bin/python -m unittest test_gait` in this folder, after `venv.sh gait`."""

import json
import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch

import calibrate
from gait import agreement, conditions, gaits, graph_f32, kinematics, parts, train, walkers
from gait.gaits import CLASSES
from gait.network import Student


def student(seed: int) -> Student:
    """Random weights whose normalisation does something, in evaluation mode."""
    torch.manual_seed(seed)
    made = Student().eval()
    for i in (1, 5, 9):
        norm = made.visual_encoder[i]
        for tensor, low, high in ((norm.weight.data, 0.5, 1.5), (norm.bias.data, -0.3, 0.3), (norm.running_mean, -0.2, 0.2), (norm.running_var, 0.3, 2)):
            tensor.uniform_(low, high)
    return made


class Walkers(unittest.TestCase):
    def test_a_clip_is_drawn_twice_the_same(self):
        first, second = (walkers.clip("train", 12) for _ in range(2))
        np.testing.assert_array_equal(first.frames, second.frames)
        self.assertEqual((first.frames.shape, first.frames.dtype, first.label), ((16, 224, 224, 3), np.uint8, 12 % 9))

    def test_splits_share_no_clip_and_no_angle(self):
        seen = [walkers.take(split, 3) for split in walkers.SPLITS]
        self.assertEqual(len({t.body.height_m for t in seen}), len(walkers.SPLITS))
        for low, high in walkers.UNSEEN:
            for a, b in walkers.SEEN:
                self.assertTrue(high <= a or low >= b, (low, high, a, b))

    def test_walkers_are_in_the_picture_and_their_feet_on_the_floor(self):
        for index in range(36):
            taken = walkers.take("train", index)
            for side in (0, 1):
                self.assertGreaterEqual(float(taken.at[f"toe{side}"][:, 2].min()), 0.0)
            inside = np.concatenate([taken.spots[n] for n in ("head", "pelvis")])
            self.assertTrue(((inside > -20) & (inside < 244)).all(), index)

    def test_segments_keep_their_lengths(self):
        taken = walkers.take("train", 4)
        for a, b, part in (("hip0", "knee0", kinematics.THIGH), ("knee1", "ankle1", kinematics.SHANK), ("shoulder0", "elbow0", kinematics.UPPER_ARM)):
            length = np.linalg.norm(taken.at[a] - taken.at[b], axis=1)
            np.testing.assert_allclose(length, part * taken.body.height_m, rtol=1e-6)

    def test_severity_shortens_the_stride(self):
        for family in ("KOA", "PD"):
            strides = []
            for grade in ("Early", "Mild", "Severe"):
                label = CLASSES.index(f"{family}_{grade}")
                strides.append(np.mean([gaits.draw(np.random.default_rng(i), label).stride_m for i in range(40)]))
            self.assertTrue(strides[0] > strides[1] > strides[2], strides)

    def test_only_one_class_holds_an_aid(self):
        for index in range(90):
            self.assertEqual(bool(walkers.take("train", index).aids), CLASSES[index % 9] == "Disabled_Assistive")

    def test_part_maps_pool_to_what_the_head_reads(self):
        taken = walkers.take("train", 0)
        whole = parts.maps(taken.spots, taken.aids)
        self.assertEqual(whole.shape, (64, 16, 28, 28))
        np.testing.assert_array_equal(whole[parts.USED:], 0)
        head = parts.USED - 4
        np.testing.assert_allclose(
            whole[head].reshape(16, 7, 4, 7, 4).mean(axis=(2, 4)), parts.pooled(taken.spots, taken.aids)[head], atol=1e-6)


class Network(unittest.TestCase):
    def test_the_graph_is_the_network_with_normalisation_folded(self):
        made = student(1)
        graph = graph_f32.build(graph_f32.check(made.state_dict()))
        feed = agreement.inputs(walkers.clip("train", 1).frames, np.random.default_rng(0).standard_normal(768).astype(np.float32))
        with torch.no_grad():
            wanted = made(torch.from_numpy(feed["clip"]), torch.from_numpy(feed["condition"])).numpy()
        found = calibrate.session(graph).run(None, feed)[0]
        np.testing.assert_allclose(found, wanted, atol=1e-4)

    def test_the_training_form_is_the_same_function(self):
        made = student(2)
        clip = torch.randn(1, 3, 16, 56, 56, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            found = train._pool(train.encode(made, clip, training=False), 1)
            np.testing.assert_allclose(found.numpy(), made.features(clip).numpy(), atol=1e-5)


class Export(unittest.TestCase):
    def test_a_state_dict_may_be_wrapped_and_prefixed(self):
        state = Student().state_dict()
        for given in (state, {"state_dict": state}, {f"module.{k}": v for k, v in state.items()}):
            self.assertEqual(set(graph_f32.check(given)), set(graph_f32.shapes()))

    def test_what_is_wrong_with_a_state_dict_is_named(self):
        state = Student().state_dict()
        cases = [
            ({k: v for k, v in state.items() if k != "clinical_proj.bias"}, "missing clinical_proj.bias [128]"),
            (state | {"extra.weight": torch.zeros(1)}, "unexpected extra.weight"),
            (state | {"classifier.3.weight": torch.zeros(4, 256)}, "classifier.3.weight: expected [9, 256], got [4, 256]"),
            (state | {"clinical_proj.bias": torch.full((128,), torch.nan)}, "clinical_proj.bias: has values that are not finite"),
            ({}, "expected a state dict"), ([1], "expected a state dict"),
        ]
        for given, expected in cases:
            with self.assertRaises(ValueError) as raised:
                graph_f32.check(given)
            self.assertIn(expected, str(raised.exception))

    def test_condition_tables_are_checked(self):
        rows = {name: [0.5] * 768 for name in CLASSES}
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "table.json"
            for given, expected in ((rows, None), ({"Normal": [0.5] * 768}, "expected an object with the keys"), (rows | {"Normal": [1.0]}, "768 values")):
                path.write_text(json.dumps(given))
                if expected is None:
                    self.assertEqual(conditions.load(path).shape, (9, 768))
                else:
                    self.assertRaisesRegex(ValueError, expected, conditions.load, path)
            np.save(Path(place) / "table.npy", np.zeros((8, 768)))
            self.assertRaisesRegex(ValueError, "expected 9 x 768", conditions.load, Path(place) / "table.npy")

    def test_agreement_counts_winners(self):
        whole, small = np.eye(9)[[0, 1, 2, 3]], np.eye(9)[[0, 1, 2, 4]]
        self.assertEqual(agreement.agreement(whole, small)["agreement"], 0.75)
        found = agreement.accuracy(small, np.array([0, 1, 2, 3]))
        self.assertEqual((found["accuracy"], found["confusion"][3][4]), (0.75, 1))


if __name__ == "__main__":
    unittest.main()
