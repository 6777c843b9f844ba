"""Fit the descriptor to pictures, and write the model that ships.

    python benchmarks/fit_descriptor.py FOLDER... --write descriptor.onnx

Learned whitening: the features of altered copies of one picture should agree, those of different
pictures should not. Source: K. Mikolajczyk, J. Matas, "Improving descriptors for fast tree matching
by optimal linear projection", ICCV 2007.
"""

import argparse
import hashlib
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
from descriptor_network import FEATURES, SIDE_PX, descriptor_model, features_model
from descriptor_pictures import altered_copies, load_pictures
from numpy.typing import NDArray

from hydindex.matching.calibrated.descriptor import UNIT_LENGTH
from hydindex.matching.calibrated.efficientnet import DIMENSION

Floats = NDArray[np.float64]

_COPIES: Final = 8
# So much of the total covariance is mixed into the covariance within copies.
_SHRINKAGE: Final = 0.1
# Components are scaled by this power of their variance: large ones count a little less.
_COMPONENT_POWER: Final = -0.25


def main() -> None:
    """Fit, and write the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--per-folder", type=int, default=600, help="Files of each folder.")
    parser.add_argument("--pictures", type=int, default=5000, help="Pictures in all.")
    parser.add_argument("--write", type=Path, required=True, help="ONNX file to write.")
    options = parser.parse_args()

    features = features_of_copies(options.folders, options.per_folder, options.pictures)
    mean, projection = learned_whitening(features, DIMENSION)
    model = descriptor_model(
        mean.astype(np.float32),
        projection.astype(np.float32),
        UNIT_LENGTH,
        {"fitted to": f"{len(features)} pictures, {_COPIES} copies each"},
    )
    onnx.save(model, options.write)
    print(f"{len(features)} pictures; SHA-256 {_sha256(options.write)}")


def features_of_copies(folders: list[Path], per_folder: int, pictures: int) -> Floats:
    """Return the features of altered copies of pictures: (pictures, copies, features)."""
    rng = np.random.default_rng(0)
    session = onnxruntime.InferenceSession(
        features_model().SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.stack(
        [
            session.run(None, {"pictures": altered_copies(picture, _COPIES, SIDE_PX, rng)})[0]
            for picture in islice(load_pictures(folders, per_folder, rng), pictures)
        ]
    ).astype(np.float64)


def learned_whitening(features: Floats, dimension: int) -> tuple[Floats, Floats]:
    """Return the mean of features (pictures, copies, n), and a projection (n, dimension)."""
    mean = features.mean(axis=(0, 1))
    centred = (features - mean).reshape(-1, FEATURES)
    within = (features - features.mean(axis=1, keepdims=True)).reshape(-1, FEATURES)
    total_covariance = centred.T @ centred / len(centred)
    within_covariance = within.T @ within / len(within)
    within_covariance += _SHRINKAGE * (total_covariance - within_covariance)
    variances, directions = np.linalg.eigh(within_covariance)
    whitening = directions / np.sqrt(variances)
    variances, directions = np.linalg.eigh(whitening.T @ total_covariance @ whitening)
    largest = np.argsort(variances)[::-1][:dimension]
    return mean, whitening @ directions[:, largest] * variances[largest] ** _COMPONENT_POWER


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
