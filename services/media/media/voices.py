"""The voices a listener can choose."""

from media.schemas import VoiceView

VOICES = (
    VoiceView(id="nova", name="Nova", description="Warm and even; the default"),
    VoiceView(id="shimmer", name="Shimmer", description="Soft and light, for rest and sleep"),
    VoiceView(id="alloy", name="Alloy", description="Clear and close"),
    VoiceView(id="onyx", name="Onyx", description="Low and calm"),
    VoiceView(id="echo", name="Echo", description="Lower, with more room"),
    VoiceView(id="fable", name="Fable", description="Bright and lively"),
)
