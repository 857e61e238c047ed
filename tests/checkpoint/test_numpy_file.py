import numpy as np

from partial_fc.checkpoint.numpy_file import open_matrix, write_matrix


def test_a_matrix_is_written_block_by_block(tmp_path):
    """In a file of full length that is mapped into memory, a full disk would be a SIGBUS."""
    path, expected, lengths = str(tmp_path / "a.npy"), np.random.RandomState(0).randn(3, 4096, 8), []

    def blocks():
        for block in expected.astype(np.float32):
            lengths.append(sum(each.stat().st_size for each in tmp_path.iterdir()))
            yield block

    write_matrix(path, (3 * 4096, 8), blocks())
    assert lengths[0] < lengths[1] < lengths[2] and len(list(tmp_path.iterdir())) == 1
    assert np.array_equal(open_matrix(path, "test"), expected.reshape(-1, 8).astype(np.float32))
