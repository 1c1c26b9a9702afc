"""LightGBM's trees as one ONNX operator that computes in float64, as LightGBM does.

The published converters write thresholds as float32, which moves rows to the wrong side of a split. `TreeEnsemble` of
`ai.onnx.ml` 5 holds float64, so comparisons are exact here and sums differ in their last digits only. Sources:
LightGBM's `Booster.dump_model`, and the ONNX operator's specification.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from colonnade.runtimes.compile.form import INPUT

_OUTPUT = "answer"
_LESS_OR_EQUAL = 0  # the operator's number for `<=`
_SUM = 1


def splits(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The inner nodes of a tree of `dump_model`, each before those below it."""
    below = [node]
    while below:
        node = below.pop()
        if "split_feature" in node:
            yield node
            below += [node["right_child"], node["left_child"]]


class _Trees:
    """The arrays of a TreeEnsemble operator, filled tree by tree."""

    def __init__(self) -> None:
        self.roots: list[int] = []
        self.features: list[int] = []
        self.thresholds: list[float] = []
        self.missing: list[int] = []  # 1: a missing value goes the way of "true"
        self.children: tuple[list[int], list[int]] = ([], [])  # numbers of nodes or leaves, if true and if false
        self.leaves: tuple[list[int], list[int]] = ([], [])  # 1: that number is a leaf's
        self.targets: list[int] = []
        self.weights: list[float] = []

    def add(self, tree: dict[str, Any], target: int) -> None:
        """Adds a tree whose leaves count for one output."""
        self.roots.append(len(self.features))
        if "split_feature" not in tree:  # a single leaf: the operator wants a split, both ways of which lead to it
            leaf = self._leaf(tree, target)
            self._split(0, 0.0, missing=True)
            for side in (0, 1):
                self.children[side].append(leaf)
                self.leaves[side].append(1)
            return
        nodes = list(splits(tree))
        number = {id(node): self.roots[-1] + index for index, node in enumerate(nodes)}
        for node in nodes:
            threshold = node["threshold"]  # a split that knows no missing values reads them as 0
            left = node["default_left"] if node["missing_type"] == "NaN" else threshold >= 0.0
            self._split(node["split_feature"], threshold, missing=left)
            for side, child in enumerate((node["left_child"], node["right_child"])):
                inner = id(child) in number
                self.children[side].append(number[id(child)] if inner else self._leaf(child, target))
                self.leaves[side].append(int(not inner))

    def _split(self, feature: int, threshold: float, *, missing: bool) -> None:
        self.features.append(feature)
        self.thresholds.append(threshold)
        self.missing.append(int(missing))

    def _leaf(self, node: dict[str, Any], target: int) -> int:
        self.targets.append(target)
        self.weights.append(node["leaf_value"])
        return len(self.weights) - 1


def lightgbm(dump: dict[str, Any], width: int) -> Any:
    """The graph of a booster from its dump, whose trees split by `<=` only.

    Raises:
        ValueError: its objective has a link that is not known here.
    """
    from onnx import TensorProto, helper, numpy_helper

    per_round = int(dump["num_tree_per_iteration"])
    trees = _Trees()
    for index, info in enumerate(dump["tree_info"]):
        trees.add(info["tree_structure"], index % per_round)

    def array(name: str, values: list[Any], dtype: type) -> Any:
        return numpy_helper.from_array(np.array(values, dtype=dtype), name)

    nodes = [
        helper.make_node(
            "TreeEnsemble",
            [INPUT],
            ["sums"],
            domain="ai.onnx.ml",
            n_targets=per_round,
            aggregate_function=_SUM,
            post_transform=0,
            tree_roots=trees.roots,
            nodes_modes=array("nodes_modes", [_LESS_OR_EQUAL] * len(trees.features), np.uint8),
            nodes_featureids=trees.features,
            nodes_splits=array("nodes_splits", trees.thresholds, np.float64),
            nodes_truenodeids=trees.children[0],
            nodes_trueleafs=trees.leaves[0],
            nodes_falsenodeids=trees.children[1],
            nodes_falseleafs=trees.leaves[1],
            nodes_missing_value_tracks_true=trees.missing,
            leaf_targetids=trees.targets,
            leaf_weights=array("leaf_weights", trees.weights, np.float64),
        )
    ]
    constants: list[Any] = []

    def scaled(value: str, factor: float) -> str:
        """Adds a product, unless it is by one; returns what holds the result."""
        if factor == 1.0:
            return value
        constants.append(array(f"factor-{len(constants)}", [factor], np.float64))
        nodes.append(helper.make_node("Mul", [value, constants[-1].name], [f"scaled-{len(constants)}"]))
        return str(nodes[-1].output[0])

    rounds = len(dump["tree_info"]) / per_round
    last = scaled("sums", 1.0 / rounds if dump.get("average_output") else 1.0)
    link, slope, attributes = _link(str(dump.get("objective", "")))
    nodes.append(helper.make_node(link, [scaled(last, slope)], [_OUTPUT], **attributes))
    graph = helper.make_graph(
        nodes,
        "lightgbm",
        [helper.make_tensor_value_info(INPUT, TensorProto.DOUBLE, [None, width])],
        [helper.make_tensor_value_info(_OUTPUT, TensorProto.DOUBLE, [None, per_round])],
        constants,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def _link(objective: str) -> tuple[str, float, dict[str, Any]]:
    """Operator, slope and attributes of what LightGBM does to the sums; the names are those of its model files."""
    name, *words = objective.split()
    settings = dict(word.split(":", 1) for word in words if ":" in word)
    if name in ("binary", "multiclassova"):
        return "Sigmoid", float(settings.get("sigmoid", 1.0)), {}
    if name == "cross_entropy":
        return "Sigmoid", 1.0, {}
    if name == "multiclass":
        return "Softmax", 1.0, {"axis": 1}
    if name in ("poisson", "gamma", "tweedie"):
        return "Exp", 1.0, {}
    plain = ("regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg")
    if name in plain and "sqrt" not in words:
        return "Identity", 1.0, {}
    raise ValueError(f"objective {objective!r} is not known here")
