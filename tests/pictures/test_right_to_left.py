import pytest

from partial_fc.pictures.right_to_left import in_visual_order


@pytest.mark.parametrize(
    "logical, visual",
    [
        ("models/a_1,12", "models/a_1,12"),
        ("модели", "модели"),
        ("", ""),
        ("\u05d0\u05d1\u05d2", "\u05d2\u05d1\u05d0"),
        ("m/\u05d0\u05d1 \u05d2/x", "m/\u05d2 \u05d1\u05d0/x"),
        ("\u05d0 x \u05d1", "\u05d0 x \u05d1"),
        ("\u05d0\u05d1 12 \u05d2", "\u05d2 12 \u05d1\u05d0"),
        ("\u05d0 (\u05d1)/x", "(\u05d1) \u05d0/x"),
        ("(\u05d0)", "(\u05d0)"),
        ("\u05d0)", "\u05d0)"),
        ("\u05d0\u05b8\u05d1", "\u05d1\u05d0\u05b8"),
        ("\u05d0\u05d1\u05b8/x", "\u05d1\u05b8\u05d0/x"),
    ],
    ids=ascii,
)
def test_order(logical, visual):
    assert in_visual_order(logical) == visual


@pytest.mark.parametrize(
    "letters, forms",
    [
        ("\u0628", "\ufe8f"),  # beh alone
        ("\u0628\u0628\u0628", "\ufe91\ufe92\ufe90"),  # at the beginning, in the middle, at the end
        ("\u062f\u0628", "\ufea9\ufe8f"),  # dal does not join what follows
        ("\u0628\u0644\u0627", "\ufe91\ufefc"),
        ("\u0644\u0627", "\ufefb"),  # lam and alef are one
        ("\u0628\u064e\u0628", "\ufe91\u064e\ufe90"),  # a mark between does not part them
        ("\u0628 \u0628", "\ufe8f \ufe8f"),
    ],
    ids=ascii,
)
def test_arabic_letters_are_joined(letters, forms):
    drawn = in_visual_order(letters)
    assert sorted(drawn) == sorted(forms) and drawn.replace("\u064e", "") == forms.replace("\u064e", "")[::-1]
