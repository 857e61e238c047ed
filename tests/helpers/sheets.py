"""What the sheets of `--pictures` show, without drawing them."""


def recorded_sheets(monkeypatch):
    """A list to which each sheet is added from now on, instead of being drawn: (name, records, note) of its rows."""
    sheets = []

    def record(path, rows):
        sheets.append([(row.name, row.keys.tolist(), row.note) for row in rows])

    monkeypatch.setattr("partial_fc.curation.people.draw_rows", record)
    return sheets
