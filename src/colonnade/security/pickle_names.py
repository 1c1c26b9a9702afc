"""Which globals a pickle may name without consent, as far as names alone can tell. Pure; imports no framework.

Two read it. `runtimes.allowlist` decides about a global with the object itself in hand, in the process that loads the
model, and takes its lists from here. `storage.scan` looks at a file before any process starts, in the control plane,
where no framework is imported: it can tell a function from a class by its name only. So `kind_of` grants at least what
the allow-list grants for the frameworks' released versions, and little more; what passes here is judged again there.
"""

from __future__ import annotations

import enum
import re

# Modules whose classes are not data: they start processes, open files, fetch, or run text. Parts of a module path.
DENIED_PARTS = frozenset(
    {"tests", "conftest", "datasets", "externals", "callback", "discovery", "parallel", "experimental"}
    | {"_testing", "_mocking", "_build_utils", "__check_build", "_repr_html", "_array_api", "fixes", "validation"}
)

BUILTINS = (
    *("set", "frozenset", "slice", "range", "complex", "bytearray", "list", "dict", "tuple"),
    *("int", "float", "str", "bool", "bytes", "object"),
)

COLLECTIONS = ("OrderedDict", "defaultdict", "deque", "Counter")

DATETIME = ("date", "datetime", "time", "timedelta")

SCIPY_CLASSES = {
    "scipy.interpolate._bsplines": {"BSpline"},
    "scipy.interpolate._interpolate": {"PPoly", "interp1d"},
    "scipy.spatial._ckdtree": {"cKDTree"},
    "scipy.spatial._kdtree": {"KDTree"},
}

SCIPY_ASARRAY = ("scipy._lib.array_api_compat.numpy._aliases", "asarray")  # a value that BSpline holds

# Functions that estimators hold as parameters. All compute numbers from arrays; none takes a callable or a path to run.
SKLEARN_VALUES = {
    "sklearn.cluster._kmeans": {"_kmeans_single_lloyd", "_kmeans_single_elkan"},  # BisectingKMeans holds one
    "sklearn.feature_selection._univariate_selection": {
        "f_classif",
        "f_regression",
        "f_oneway",
        "chi2",
        "r_regression",
    },
    "sklearn.feature_selection._mutual_info": {"mutual_info_classif", "mutual_info_regression"},
    "sklearn.feature_extraction.text": {"strip_accents_unicode", "strip_accents_ascii", "strip_tags"},
    "sklearn.metrics._classification": {
        *("accuracy_score", "balanced_accuracy_score", "f1_score", "fbeta_score", "log_loss", "matthews_corrcoef"),
        *("precision_score", "recall_score", "jaccard_score", "brier_score_loss", "cohen_kappa_score"),
    },
    "sklearn.metrics._ranking": {"roc_auc_score", "average_precision_score", "top_k_accuracy_score"},
    "sklearn.metrics._regression": {
        *("r2_score", "mean_squared_error", "root_mean_squared_error", "mean_absolute_error", "max_error"),
        *("mean_squared_log_error", "median_absolute_error", "mean_absolute_percentage_error"),
        *("explained_variance_score", "mean_pinball_loss", "mean_poisson_deviance", "mean_gamma_deviance"),
    },
    "sklearn.metrics.pairwise": {
        *("linear_kernel", "polynomial_kernel", "rbf_kernel", "laplacian_kernel", "sigmoid_kernel"),
        *("chi2_kernel", "additive_chi2_kernel", "euclidean_distances", "manhattan_distances", "cosine_distances"),
        "cosine_similarity",
    },
}

SKLEARN_SUFFIXES_OF_NEW = ("_dist_metrics", "_kd_tree", "_ball_tree")  # modules with Cython's `newObj(cls)`

NUMPY_MODULES = (
    "numpy.core",
    "numpy._core",
    "numpy.random",
    "numpy.ma",
    "numpy.matrixlib",
    "numpy.dtypes",
    "numpy.rec",
)

NUMPY_RECONSTRUCTORS = frozenset(
    {
        *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
        *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
        ("numpy.ma.core", "_mareconstruct"),
        ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
    }
)

NUMPY_RANDOM = ("__randomstate_ctor", "__generator_ctor", "__bit_generator_ctor")  # of numpy.random._pickle

_NUMPY_CLASSES = re.compile(
    r"(u?int|float|complex|c?long|c?double|c?single|half|byte|ubyte|u?short|u?longlong|clongdouble|longdouble|bool|"
    r"str|bytes|object|void|datetime|timedelta|generic|number|integer|(un)?signedinteger|inexact|floating|"
    r"complexfloating|flexible|character|intc|uintc|u?intp|ulong|ndarray|dtype|matrix|recarray|record|mvoid|"
    r"masked_array|MaskedArray|MaskedConstant|MaskType|sctype|[A-Z][A-Za-z0-9]*DType|"
    r"_?MT19937|PCG64|PCG64DXSM|Philox|SFC64|RandomState|Generator|BitGenerator|SeedSequence)\d*_?"
)

_NUMPY_UFUNCS = re.compile(
    r"abs|absolute|acos|acosh|add|arccos|arccosh|arcsin|arcsinh|arctan|arctan2|arctanh|asin|asinh|"
    r"atan|atan2|atanh|bitwise_and|bitwise_count|bitwise_invert|bitwise_left_shift|bitwise_not|bitwise_or|"
    r"bitwise_right_shift|bitwise_xor|cbrt|ceil|conj|conjugate|copysign|cos|cosh|deg2rad|degrees|"
    r"divide|divmod|equal|exp|exp2|expm1|fabs|float_power|floor|floor_divide|fmax|fmin|fmod|frexp|"
    r"gcd|greater|greater_equal|heaviside|hypot|invert|isfinite|isinf|isnan|isnat|lcm|ldexp|"
    r"left_shift|less|less_equal|log|log10|log1p|log2|logaddexp|logaddexp2|logical_and|logical_not|"
    r"logical_or|logical_xor|matmul|matvec|maximum|minimum|mod|modf|multiply|negative|nextafter|"
    r"not_equal|positive|pow|power|rad2deg|radians|reciprocal|remainder|right_shift|rint|sign|signbit|"
    r"sin|sinh|spacing|sqrt|square|subtract|tan|tanh|true_divide|trunc|vecdot|vecmat|"
    r"clip|count|endswith|find|index|isalnum|isalpha|isdecimal|isdigit|islower|isnumeric|isspace|istitle|isupper|rfind|"
    r"rindex|startswith|str_len"
)

# Classes of others that modules of scikit-learn import, so that they can be named through them.
_SKLEARN_FOREIGN = frozenset(
    {"MethodType", "NamedTuple", "Enum", "ABC", "ABCMeta", "Protocol", "StringIO", "BytesIO", "Parallel", "Memory"}
    | {"LinearOperator", "SkipTest", "Path", "Callable", "Counter", "Template", "Formatter", "ThreadPool", "Thread"}
)

_CLASS = re.compile(r"_*[A-Z]\w*")
_WORD = re.compile(r"[a-z]\w*")

_TORCH_REBUILDERS = frozenset(
    {"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter", "_rebuild_qtensor"}
    | {"_rebuild_parameter_with_state", "_rebuild_sparse_tensor", "_rebuild_sparse_csr_tensor"}
    | {"_rebuild_meta_tensor_no_storage", "_rebuild_nested_tensor", "_rebuild_wrapper_subclass"}
)
_TORCH_VALUES = re.compile(
    r"(u?int\d+|float\d+\w*|bfloat16|complex\d+|q?u?int\d+|quint\d+x\d+|bool|half|double|float|short|int|long|Size|"
    r"device|dtype|Tensor|Generator|per_tensor_affine|per_channel_affine|strided|sparse_coo|contiguous_format|"
    r"preserve_format|channels_last|[A-Z][A-Za-z0-9]*Storage)"
)
_TORCH_SCRIPT = ("__torch__", "torch.jit._pickle")


class Kind(enum.Enum):
    """What a pickle may do with a global."""

    CALLED = "called"  # it may call it, restore it, and give it state
    HELD = "held"  # it may hold it as a value
    DENIED = "denied"


def within(module: str, roots: tuple[str, ...]) -> bool:
    """Whether a module is one of `roots` or lies in one."""
    return any(module == root or module.startswith(f"{root}.") for root in roots)


def kind_of(module: str, name: str) -> Kind:
    """What a pickle of a scikit-learn model may do with the global `module.name`."""
    if (module, name) in _FIXED:
        return Kind.CALLED
    if "." in name:  # `system` of `os` could be reached through any module, under protocol 4
        return Kind.DENIED
    decide = _POLICIES.get(module.partition(".")[0])
    return Kind.DENIED if decide is None else decide(module, name)


def torch_kind_of(module: str, name: str) -> Kind:
    """The same for a checkpoint of PyTorch: what `torch.load` takes with `weights_only`."""
    if "." in name:
        return Kind.DENIED
    if module == "torch._utils" and name in _TORCH_REBUILDERS:
        return Kind.CALLED
    if (module, name) in (("torch._tensor", "_rebuild_from_type_v2"), ("torch.serialization", "_get_layout")):
        return Kind.CALLED
    if (module, name) == ("torch.nn.parameter", "Parameter"):
        return Kind.CALLED
    if module in ("torch", "torch.storage", "torch.cuda") and _TORCH_VALUES.fullmatch(name):
        return Kind.CALLED
    return kind_of(module, name)


def torch_script_kind_of(module: str, name: str) -> Kind:
    """The same for TorchScript, whose own classes are no Python: they stand in its `code/`."""
    return Kind.CALLED if within(module, _TORCH_SCRIPT) else torch_kind_of(module, name)


def _numpy(module: str, name: str) -> Kind:
    if module != "numpy" and not within(module, NUMPY_MODULES):
        return Kind.DENIED
    if (module, name) in NUMPY_RECONSTRUCTORS or _NUMPY_CLASSES.fullmatch(name):
        return Kind.CALLED
    # `memmap` opens files when it is called; joblib's arrays only name it
    return Kind.HELD if name == "memmap" or _NUMPY_UFUNCS.fullmatch(name) else Kind.DENIED


def _scipy(module: str, name: str) -> Kind:
    if (module, name) == SCIPY_ASARRAY:
        return Kind.HELD
    if within(module, ("scipy.special",)):
        return Kind.HELD if _WORD.fullmatch(name) and name != "test" else Kind.DENIED
    if name in SCIPY_CLASSES.get(module, ()):
        return Kind.CALLED
    sparse = within(module, ("scipy.sparse",)) and not DENIED_PARTS.intersection(module.split("."))
    return Kind.CALLED if sparse and name.endswith(("_matrix", "_array", "spmatrix", "sparray")) else Kind.DENIED


def _sklearn(module: str, name: str) -> Kind:
    if DENIED_PARTS.intersection(module.split(".")):
        return Kind.DENIED
    if name in SKLEARN_VALUES.get(module, ()):
        return Kind.HELD
    if _CLASS.fullmatch(name) and name not in _SKLEARN_FOREIGN:
        return Kind.CALLED
    restores = name.startswith("__pyx_unpickle_") or name in ("make_column_selector", "_nandict")
    fresh = name == "newObj" and module.rpartition(".")[2].startswith(SKLEARN_SUFFIXES_OF_NEW)
    return Kind.CALLED if restores or fresh else Kind.DENIED


_FIXED = frozenset(
    {
        *(("builtins", name) for name in BUILTINS),
        *(("collections", name) for name in COLLECTIONS),
        *(("datetime", name) for name in DATETIME),
        ("copyreg", "_reconstructor"),
        ("_codecs", "encode"),
        *(("numpy.random._pickle", name) for name in NUMPY_RANDOM),
    }
)
_POLICIES = {"numpy": _numpy, "scipy": _scipy, "sklearn": _sklearn}
