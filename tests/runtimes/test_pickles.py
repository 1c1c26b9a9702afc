"""What honest people save with scikit-learn loads without consent and predicts the same."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn import (
    calibration,
    cluster,
    compose,
    cross_decomposition,
    decomposition,
    discriminant_analysis,
    dummy,
    ensemble,
    feature_extraction,
    feature_selection,
    gaussian_process,
    impute,
    isotonic,
    kernel_approximation,
    linear_model,
    metrics,
    mixture,
    model_selection,
    multiclass,
    multioutput,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    random_projection,
    svm,
    tree,
)
from sklearn.datasets import load_iris

from colonnade.errors import LoadFailed
from colonnade.runtimes import pickles
from colonnade.runtimes.base import LoadOptions
from colonnade.runtimes.sklearn import SklearnRuntime

X, Y = (values[::3] for values in load_iris(return_X_y=True))  # a third is enough and quick
FRAME = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "kind": np.where(X[:, 2] > 3, "long", "short")})


def piped(*steps: Any) -> Any:
    return pipeline.make_pipeline(*steps)


NUMERIC: dict[str, Any] = {
    "logistic": linear_model.LogisticRegression(max_iter=500),
    "logistic cv": linear_model.LogisticRegressionCV(cv=2, max_iter=500),
    "linear": linear_model.LinearRegression(),
    "ridge": linear_model.Ridge(),
    "ridge cv": linear_model.RidgeCV(),
    "lasso": linear_model.Lasso(),
    "elastic net": linear_model.ElasticNet(),
    "bayesian ridge": linear_model.BayesianRidge(),
    "huber": linear_model.HuberRegressor(),
    "poisson": linear_model.PoissonRegressor(),
    "sgd": linear_model.SGDClassifier(random_state=0),
    "sgd huber": linear_model.SGDClassifier(loss="modified_huber", random_state=np.random.RandomState(0)),
    "perceptron": linear_model.Perceptron(),
    "svc": svm.SVC(),
    "linear svc": svm.LinearSVC(),
    "nu svc": svm.NuSVC(),
    "svr": svm.SVR(),
    "one class svm": svm.OneClassSVM(),
    "tree": tree.DecisionTreeClassifier(),
    "tree regressor": tree.DecisionTreeRegressor(),
    "extra tree": tree.ExtraTreeClassifier(),
    "forest": ensemble.RandomForestClassifier(5),
    "forest regressor": ensemble.RandomForestRegressor(5),
    "extra trees": ensemble.ExtraTreesClassifier(5),
    "gradient boosting": ensemble.GradientBoostingClassifier(n_estimators=3),
    "gradient boosting regressor": ensemble.GradientBoostingRegressor(n_estimators=3, loss="huber"),
    "hist gradient boosting": ensemble.HistGradientBoostingClassifier(max_iter=3),
    "hist gradient boosting regressor": ensemble.HistGradientBoostingRegressor(max_iter=3, loss="absolute_error"),
    "ada boost": ensemble.AdaBoostClassifier(n_estimators=3),
    "bagging": ensemble.BaggingClassifier(n_estimators=3),
    "isolation forest": ensemble.IsolationForest(n_estimators=3),
    "voting": ensemble.VotingClassifier([("a", naive_bayes.GaussianNB()), ("b", tree.DecisionTreeClassifier())]),
    "stacking": ensemble.StackingClassifier([("a", naive_bayes.GaussianNB())], tree.DecisionTreeClassifier(), cv=2),
    "knn": neighbors.KNeighborsClassifier(),
    "knn ball tree": neighbors.KNeighborsRegressor(algorithm="ball_tree", metric="manhattan"),
    "radius": neighbors.RadiusNeighborsClassifier(radius=10.0, algorithm="kd_tree"),
    "nearest centroid": neighbors.NearestCentroid(),
    "local outlier": neighbors.LocalOutlierFactor(novelty=True),
    "gaussian nb": naive_bayes.GaussianNB(),
    "multinomial nb": naive_bayes.MultinomialNB(),
    "bernoulli nb": naive_bayes.BernoulliNB(),
    "lda": discriminant_analysis.LinearDiscriminantAnalysis(),
    "qda": discriminant_analysis.QuadraticDiscriminantAnalysis(reg_param=0.1),
    "mlp": neural_network.MLPClassifier((4,), max_iter=5),
    "mlp sgd": neural_network.MLPRegressor(hidden_layer_sizes=(4,), solver="sgd", max_iter=5),
    "gaussian process": gaussian_process.GaussianProcessClassifier(gaussian_process.kernels.RBF()),
    "gaussian process sum": gaussian_process.GaussianProcessRegressor(
        1.0 * gaussian_process.kernels.Matern() + gaussian_process.kernels.WhiteKernel()
    ),
    "calibrated": calibration.CalibratedClassifierCV(naive_bayes.GaussianNB(), cv=2),
    "calibrated isotonic": calibration.CalibratedClassifierCV(naive_bayes.GaussianNB(), method="isotonic", cv=2),
    "k means": cluster.KMeans(3, n_init=1),
    "mini batch k means": cluster.MiniBatchKMeans(3, n_init=1),
    "bisecting k means": cluster.BisectingKMeans(3),
    "birch": cluster.Birch(n_clusters=3),
    "mean shift": cluster.MeanShift(),
    "gaussian mixture": mixture.GaussianMixture(2),
    "bayesian mixture": mixture.BayesianGaussianMixture(n_components=2, max_iter=5),
    "pls": cross_decomposition.PLSRegression(2),
    "one vs rest": multiclass.OneVsRestClassifier(svm.LinearSVC()),
    "multi output": multioutput.MultiOutputRegressor(linear_model.Ridge()),
    "dummy": dummy.DummyClassifier(),
    "grid search": model_selection.GridSearchCV(
        svm.SVC(),
        {"C": [1, 2]},
        cv=model_selection.StratifiedKFold(2),
        scoring=metrics.make_scorer(metrics.f1_score, average="macro"),
    ),
    "randomized search": model_selection.RandomizedSearchCV(
        tree.DecisionTreeClassifier(), {"max_depth": [1, 2]}, n_iter=2, cv=2
    ),
    "scaler, pca": piped(preprocessing.StandardScaler(), decomposition.PCA(2), svm.SVC()),
    "select k best": piped(feature_selection.SelectKBest(k=2), naive_bayes.GaussianNB()),
    "select chi2": piped(feature_selection.SelectKBest(feature_selection.chi2, k=2), naive_bayes.GaussianNB()),
    "rfe": feature_selection.RFE(linear_model.LogisticRegression(max_iter=500), n_features_to_select=2),
    "function log": piped(preprocessing.FunctionTransformer(np.log1p), linear_model.Ridge()),
    "power, quantile": piped(
        preprocessing.PowerTransformer(), preprocessing.QuantileTransformer(n_quantiles=10), linear_model.Ridge()
    ),
    "splines": piped(preprocessing.SplineTransformer(), linear_model.Ridge()),
    "polynomial, bins": piped(
        preprocessing.PolynomialFeatures(), preprocessing.KBinsDiscretizer(3, encode="onehot"), linear_model.Ridge()
    ),
    "impute": piped(impute.SimpleImputer(), impute.KNNImputer(), linear_model.Ridge()),
    "robust, minmax": piped(preprocessing.RobustScaler(), preprocessing.MinMaxScaler(), linear_model.Ridge()),
    "nystroem": piped(kernel_approximation.Nystroem(n_components=5), svm.LinearSVC()),
    "projection": piped(random_projection.SparseRandomProjection(2, random_state=0), svm.LinearSVC()),
    "union": piped(
        pipeline.make_union(decomposition.TruncatedSVD(2), decomposition.FastICA(2)), naive_bayes.GaussianNB()
    ),
    "transformed target": compose.TransformedTargetRegressor(
        linear_model.Ridge(), func=np.log1p, inverse_func=np.expm1
    ),
}


def kept(model: Any, path: Path, how: str) -> Any:
    """Save and load by the allow-list."""
    if how == "pickle":
        path.write_bytes(pickle.dumps(model))
    elif how == "pickle 2":
        path.write_bytes(pickle.dumps(model, protocol=2))
    else:
        joblib.dump(model, path, compress=3 if how == "joblib compressed" else 0)
    return pickles.load(path)


@pytest.mark.parametrize("case", NUMERIC)
def test_an_estimator_comes_back_and_predicts_the_same(tmp_path: Path, case: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target = np.column_stack([Y, Y]) if case == "multi output" else Y
        model = NUMERIC[case].fit(X, target)
        for how in ("pickle", "joblib", "joblib compressed", "pickle 2"):
            loaded = kept(model, tmp_path / "m.joblib", how)
            np.testing.assert_array_equal(loaded.predict(X), model.predict(X), err_msg=how)


def test_a_pipeline_over_named_columns_comes_back(tmp_path: Path) -> None:
    columns = compose.ColumnTransformer(
        [
            ("numbers", piped(impute.SimpleImputer(), preprocessing.StandardScaler()), ["a", "b"]),
            ("kind", preprocessing.OneHotEncoder(handle_unknown="ignore"), ["kind"]),
        ],
        remainder="passthrough",
    )
    model = piped(columns, linear_model.LogisticRegression(max_iter=500)).fit(FRAME, Y)
    for how in ("pickle", "joblib", "joblib compressed", "pickle 2"):
        loaded = kept(model, tmp_path / "m.joblib", how)
        np.testing.assert_array_equal(loaded.predict(FRAME), model.predict(FRAME))


@pytest.mark.parametrize(
    "vectorizer",
    [
        feature_extraction.text.TfidfVectorizer(),
        feature_extraction.text.CountVectorizer(strip_accents="unicode", ngram_range=(1, 2)),
        feature_extraction.text.HashingVectorizer(n_features=16, alternate_sign=False),
    ],
)
def test_a_text_pipeline_comes_back(tmp_path: Path, vectorizer: Any) -> None:
    words = ["good wine", "bad wine", "good bread", "bad bread"]
    model = piped(vectorizer, naive_bayes.MultinomialNB()).fit(words, ["yes", "no", "yes", "no"])
    for how in ("pickle", "joblib"):
        assert kept(model, tmp_path / "m.joblib", how).predict(["good"]).tolist() == ["yes"]


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.zeros((0, 3)),
        np.float64(1.5),
        np.array("2026-11-23", dtype="M8[D]"),
        np.array(["a", "é"], dtype=object),
        np.array([("x", 1)], dtype=[("name", "U1"), ("n", "i4")]),
        np.ma.masked_array([1, 2], [True, False]),
        np.random.default_rng(1),
        np.random.RandomState(1),
        scipy.sparse.csr_matrix(np.eye(3)),
        scipy.sparse.coo_array(np.eye(3)),
        {"set": {1}, "frozen": frozenset({2}), "slice": slice(1, 2), "complex": 1j, "bytes": b"\xff"},
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("how", ["pickle", "pickle 2", "joblib", "joblib compressed"])
def test_plain_values_come_back(tmp_path: Path, value: Any, how: str) -> None:
    loaded = kept([value, value], tmp_path / "m.joblib", how)[0]
    assert type(loaded) is type(value)
    if isinstance(value, np.ndarray):
        assert loaded.tolist() == value.tolist()
        assert loaded.flags.writeable
    assert str(loaded) == str(value) or isinstance(value, (np.random.Generator, np.random.RandomState))


def test_isotonic_regression_comes_back(tmp_path: Path) -> None:
    model = isotonic.IsotonicRegression().fit(X[:, 0], Y)
    np.testing.assert_array_equal(kept(model, tmp_path / "m.pkl", "pickle").predict(X[:, 0]), model.predict(X[:, 0]))


def own_function(rows: np.ndarray) -> np.ndarray:
    return rows


def test_skops_follows_the_same_list(tmp_path: Path) -> None:
    import skops.io

    path = tmp_path / "m.skops"
    model = piped(preprocessing.FunctionTransformer(np.log1p), ensemble.HistGradientBoostingClassifier(max_iter=2))
    skops.io.dump(model.fit(X, Y), path)
    loaded = SklearnRuntime().load("m", path, LoadOptions(env={}))
    assert loaded.predict(X[:2]).tolist() == model.predict(X[:2]).tolist()
    skops.io.dump(piped(preprocessing.FunctionTransformer(own_function), svm.SVC()).fit(X, Y), path)
    with pytest.raises(LoadFailed, match=r"test_pickles\.own_function, which is not on the list"):
        SklearnRuntime().load("m", path, LoadOptions(env={}))
    path.write_bytes(b"PK no zip")
    with pytest.raises(LoadFailed, match="cannot be read as a skops file"):
        SklearnRuntime().load("m", path, LoadOptions(env={}))
