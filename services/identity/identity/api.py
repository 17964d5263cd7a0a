"""Identity's HTTP doors."""

from typing import Annotated

from fastapi import APIRouter, Depends

from common.auth import AnyCaller, UserId
from common.speakable.refusals import ContentRefused, CrisisSupport, require_speakable_words
from common.web.app import WireRoute
from common.web.openapi import refusals
from common.web.transactions import Transaction
from identity import commands, queries
from identity.models import User
from identity.preferences import PreferencesV3
from identity.schemas import (
    MeView,
    StruggleChange,
    StruggleStored,
    StruggleView,
    ValuesChoice,
    ValuesStored,
    ValuesView,
    ValueView,
)

router = APIRouter(route_class=WireRoute)


async def _registered(uow: Transaction, user_id: UserId, caller: AnyCaller) -> User:
    return await commands.register_at_first_sight(uow, user_id, caller.issuer)


Me = Annotated[User, Depends(_registered)]
"""The signed-in user, registered by any first request."""


@router.get("/me")
async def me(user: Me) -> MeView:
    """Who is signed in."""
    return MeView.of(user)


_UNSPEAKABLE = refusals(ContentRefused, CrisisSupport)
"""Words that would be refused wherever they are used later are refused where they come in, and leave nothing behind."""


@router.post("/me/values", responses=_UNSPEAKABLE)
async def replace_values(uow: Transaction, user: Me, choice: ValuesChoice) -> ValuesStored:
    """Replaces everything the user values."""
    require_speakable_words([("values", value.value_text) for value in choice.values])
    return ValuesStored(count=await commands.replace_values(uow, user.id, choice.chosen()))


@router.get("/me/values")
async def values(uow: Transaction, user: Me) -> ValuesView:
    """What the user values, the ranked first."""
    return ValuesView(values=[ValueView.of(value) for value in await queries.values(uow, user.id)])


@router.put("/me/struggle", responses=_UNSPEAKABLE)
async def set_struggle(uow: Transaction, user: Me, change: StruggleChange) -> StruggleStored:
    """Keeps what the user struggles with; an empty text or null forgets it."""
    if change.struggle:
        require_speakable_words([("struggle", change.struggle)])
    await commands.set_struggle(uow, user.id, change.struggle)
    return StruggleStored(struggle=change.struggle)


@router.get("/me/struggle")
async def struggle(user: Me) -> StruggleView:
    """What the user struggles with, or null."""
    return StruggleView(struggle=user.struggle)


@router.put("/me/preferences")
async def store_preferences(uow: Transaction, user: Me, preferences: PreferencesV3) -> PreferencesV3:
    """Replaces how the user likes to listen."""
    await commands.store_preferences(uow, user.id, preferences)
    return preferences


@router.get("/me/preferences")
async def preferences(uow: Transaction, user: Me) -> PreferencesV3:
    """How the user likes to listen; the defaults until something was stored."""
    return await queries.preferences(uow, user.id)
