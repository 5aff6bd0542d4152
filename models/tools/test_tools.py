"""Hand-worked values for the arithmetic of the tools: `.venv/bin/python -m unittest` in this folder."""

import tempfile
import unittest
from pathlib import Path

import numpy as np
from onnx import helper

import calibrate
import equalise
import evaluate_ocr
import ocr
import pack
import patterns
import prose
import quantise
import render_pages
import rounding
from calibrate import Affine, Sample
from graph import Graph


def two_convolutions() -> Graph:
    """`x [1, 3, H, W]` -> 1x1 convolution to two channels, one a hundred times the other -> 1x1 convolution to one."""
    first = np.array([[1, 0, 0], [0, 0.01, 0]], np.float32).reshape(2, 3, 1, 1)
    second = np.array([[1, 100]], np.float32).reshape(1, 2, 1, 1)
    given = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0, 0, 0, 0], "group": 1}
    nodes = [helper.make_node("Conv", ["x", "a.weight", "a.bias"], ["a"], **given),
             helper.make_node("Conv", ["a", "b.weight", "b.bias"], ["b"], **given),
             helper.make_node("Sigmoid", ["b"], ["out"])]
    weights = {"a.weight": first, "a.bias": np.zeros(2, np.float32),
               "b.weight": second, "b.bias": np.zeros(1, np.float32)}
    return Graph(nodes, weights, {"x": [1, 3, "H", "W"]}, {"out": [1, 1, None, None]})


def noise() -> Sample:
    """An image of even noise that fits the input's mapping, `[1, 3, 8, 8]`."""
    return Sample(np.random.default_rng(1).uniform(-1, 0.99, (1, 3, 8, 8)).astype(np.float32))


class Tools(unittest.TestCase):
    def test_distance(self):
        for a, b, expected in [("", "", 0), ("abc", "abc", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)]:
            self.assertEqual(ocr.distance(a, b), expected, (a, b))

    def test_decode_merges_repeats_and_drops_blanks(self):
        for classes, expected in [([0, 1, 1, 0, 1, 2], "aab"), ([0, 0], ""), ([2, 2, 1], "ba")]:
            logits = np.eye(3)[classes][None]
            self.assertEqual(ocr.decode(logits, ["a", "b"]), expected)

    def test_pixels_become_their_own_bytes(self):
        pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
        x = ocr.tensor(pixels)
        whole = np.round(x / calibrate.INPUT_SCALE) + calibrate.INPUT_ZERO
        np.testing.assert_array_equal(whole[0, 0], pixels[:, :, 0])

    def test_affine(self):
        for low, high, scale, zero in [(0, 255, 1, 0), (-1, 1.55, 0.01, 100), (2, 5.1, 0.02, 0), (-51, -1, 0.2, 255)]:
            found = Affine.of(low, high)
            self.assertAlmostEqual(float(found.scale), scale, places=6)
            self.assertEqual(found.zero, zero)

    def test_overlap(self):
        a = np.array([1, 1, 0, 0], bool)
        for b, expected in [([1, 1, 0, 0], 1.0), ([0, 1, 1, 0], 1 / 3), ([0, 0, 0, 1], 0.0)]:
            self.assertAlmostEqual(ocr.mask_overlap(a, np.array(b, bool)), expected)
        self.assertEqual(ocr.mask_overlap(~a & a, ~a & a), 1.0)

    def test_scales_reach_both_ends(self):
        rows = np.array([[63.0, -64.0], [-32.0, 1.0]])
        np.testing.assert_allclose(quantise.scales(rows), [1.0, 0.5])

    def test_rounding_beats_nearest_on_inputs_that_move_together(self):
        # Two equal inputs: only the sum of the two weights counts, 0.8, and nearest rounding makes it 0.
        inputs = np.random.default_rng(0).standard_normal((50, 1)).repeat(2, axis=1)
        whole = rounding._round(np.array([[0.4, 0.4]]), inputs, np.array([1.0]))
        self.assertEqual(whole.sum(), 1)

    def test_equalise_keeps_the_function_and_evens_the_channels(self):
        graph, sample = two_convolutions(), noise()
        before = calibrate.session(graph).run(None, {"x": sample.x})[0]
        equalise.equalise(graph, [sample], 0.5)
        np.testing.assert_allclose(calibrate.session(graph).run(None, {"x": sample.x})[0], before, atol=1e-6)
        loud, quiet = (float(np.abs(graph.weights["a.weight"][c]).max()) for c in range(2))
        self.assertLess(loud / quiet, 20)

    def test_int8_form_stays_near_the_f32_graph(self):
        graph, sample = two_convolutions(), noise()
        equalise.equalise(graph, [sample], 0.5)
        names = sorted(set().union(*calibrate.plan(graph)))
        mapping = calibrate.choose(graph, calibrate.observe(graph, names, [sample]), "minmax")
        fitted, integers = rounding.fit(graph, mapping, [sample])
        small = calibrate.session(quantise.rewrite(fitted, mapping, integers)).run(None, {"x": sample.x})[0]
        whole = calibrate.session(graph).run(None, {"x": sample.x})[0]
        # The second layer's output spans 4, so a step is 0.016; sigmoid's slope is at most a quarter of that.
        self.assertLess(np.abs(small - whole).max(), 0.02)

    def test_pack_wants_latin_and_no_cjk(self):
        for character, expected in [("a", True), ("ő", True), ("Ω", True), ("€", True), ("…", True), (" ", True),
                                    ("中", False), ("あ", False), ("￥", False), ("①", False)]:
            self.assertEqual(pack.wanted(character), expected, character)

    def test_a_pattern_is_made_twice_the_same_and_ends_in_whole_steps(self):
        with tempfile.TemporaryDirectory() as folder:
            made = []
            for path in (Path(folder) / "a", Path(folder) / "b"):
                patterns.make("conv-1x1", path)
                made.append({f.name: f.read_bytes() for f in path.iterdir()})
        self.assertEqual(made[0], made[1])
        self.assertEqual(sorted(made[0]), ["case.toml", "input.x.f32", "model.onnx", "model.toml", "output.y.f32"])
        step = float(made[0]["case.toml"].decode().split("step = ")[1].split(" ")[0])
        steps = np.frombuffer(made[0]["output.y.f32"], "<f4") / step
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)

    def test_every_pattern_has_its_folder(self):
        self.assertEqual({f.name for f in patterns.FOLDER.iterdir()}, set(patterns.PATTERNS))

    def test_bit_parallel_edits_agree_with_the_table(self):
        cases = [("", ""), ("abc", ""), ("", "abc"), ("kitten", "sitting"), ("ab", "ba"), ("a" * 70, "a" * 69 + "b")]
        rng = np.random.default_rng(0)
        cases += [("".join("abc"[i] for i in rng.integers(3, size=m)), "".join("abc"[i] for i in rng.integers(3, size=n)))
                  for m, n in rng.integers(0, 90, size=(30, 2))]
        for a, b in cases:
            self.assertEqual(evaluate_ocr.edits(a, b), ocr.distance(a, b), (a, b))

    def test_scores_count_white_space_once_and_lines_in_any_order(self):
        found = evaluate_ocr.scores("one two\n\nthree four", "three  four\none twe\n")
        self.assertEqual((found["characters"], found["words"], found["lines"], found["lines_found"]), (18, 4, 2, 2))
        same = evaluate_ocr.scores("one\ntwo", "one two\n")
        self.assertEqual((same["edits"], same["word_edits"]), (0, 0))

    def test_broken_words_join_again(self):
        for word in ("harbour", "temperature", "Größe", "a", "ΠΑΡΑΤΗΡΗΣΕΙΣ"):
            for head, tail in prose.hyphenate(word):
                self.assertEqual(render_pages.unbroken([["x", head + "-"], [tail, "y"]]), f"x {word} y")
        self.assertEqual(prose.hyphenate("harbour"), [("har", "bour")])

    def test_pages_are_drawn_twice_the_same_with_every_line_once(self):
        spec = render_pages.Spec("en", 2, dpi=100, paper=(5.4, 6.9), size=9, footnotes=True)
        (first, truth), (second, _) = (render_pages.render("page", spec, seed=3) for _ in range(2))
        self.assertEqual(first.tobytes(), second.tobytes())
        self.assertEqual([block["order"] for block in truth["blocks"]], list(range(1, len(truth["blocks"]) + 1)))
        boxes = [tuple(line["bbox"]) for block in truth["blocks"] for line in block["lines"]]
        self.assertEqual(len(set(boxes)), len(boxes))
        self.assertEqual([b["type"] for b in truth["blocks"]].count("footnote"), 2)


if __name__ == "__main__":
    unittest.main()
