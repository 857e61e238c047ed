"""Features of the images of a data set, as `eval embed --rec` writes them."""

import numpy as np

from partial_fc.data.records.data_set import DataSet


def write_features(path, source, vector):
    """`NAME.npy` and `NAME.txt` of all images of a data set; `vector(key, label)` is the embedding of one."""
    records = DataSet(str(source)).records
    listed = list(zip(records.keys.tolist(), records.labels().tolist()))
    np.save(path, np.stack([vector(key, label) for key, label in listed]).astype(np.float32))
    with open(f"{str(path)[:-4]}.txt", "w") as file:
        file.writelines(f"{key}\t{label}\n" for key, label in listed)
