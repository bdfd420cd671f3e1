"""What an image is, and what it costs, by its own bytes."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators.bedrock import images
from emulators.bedrock.refusal import BedrockError
from tests.emulators.bedrock import pictures

Picture = Callable[[int, int], bytes]

FORMATS: dict[Picture, str] = {
    pictures.png: "png",
    pictures.gif: "gif",
    pictures.jpeg: "jpeg",
    pictures.webp: "webp",
    pictures.webp_lossless: "webp",
    pictures.webp_extended: "webp",
}


@pytest.mark.parametrize(("picture", "declared"), FORMATS.items())
def test_an_image_costs_a_token_for_750_pixels(picture: Picture, declared: str) -> None:
    assert images.tokens(picture(1_500, 1_000), declared, "here") == 2_000


@pytest.mark.parametrize("picture", FORMATS)
def test_an_image_of_another_format_than_declared_is_refused(picture: Picture) -> None:
    wrong = "gif" if FORMATS[picture] == "png" else "png"

    with pytest.raises(
        BedrockError, match=f"specified using the image/{wrong} media type.*a image/{FORMATS[picture]} image"
    ):
        images.tokens(picture(10, 10), wrong, "here")


@given(st.sampled_from(list(FORMATS)), st.integers(0, 40))
def test_an_image_that_was_cut_off_anywhere_is_refused_or_counted(picture: Picture, kept: int) -> None:
    whole = picture(30, 50)
    try:
        assert images.tokens(whole[:kept], FORMATS[picture], "here") >= 0
    except BedrockError as refused:
        assert "Could not process image" in refused.text
