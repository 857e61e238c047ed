"""Reading, writing and making face data: record files, image folders, synthetic identities."""
