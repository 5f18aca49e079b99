"""What the pages say, by cause: plain, and true of that cause only. Translated in ``static/locale``."""

from gate.core.words import Reason


def _(text: str) -> str:
    """Marks a sentence for the catalogues; the page's language translates it."""
    return text


# One state is shown at a time. The status document and the personal JSON use the same words.
HEADS = {
    "early": _("We are not open yet"),
    "line": _("You are in line"),
    "called": _("It is your turn"),
    "hold": _("The line is paused"),
    "store": _("We are checking the line"),
    "closed": _("We are closed at the moment"),
    "full": _("The line is full"),
    "sold-out": _("Sold out"),
    "over": _("The sale is over"),
    "fallback": _("The shop is not answering"),
}

WHYS = {
    "early": _("You are in good time, and your place is kept. When we open, everybody gets in one after the other."),
    "line": _("Many people came at the same time. Everybody gets in one after the other, in order."),
    "called": _("The door is opening for you. It takes a moment; you do not need to do anything."),
    "hold": _("The shop lets nobody in for the moment. The order stays as it is."),
    "store": _("We cannot look at the line right now, so nobody new gets in. We keep trying by ourselves."),
    "closed": _("Nobody can get in now. This page looks again by itself and lets you know when that changes."),
    "full": _("So many wait that we give out no more places. This page tries again by itself; look in again in a few minutes."),
    "sold-out": _("Nothing is left. Should that change, the line goes on in the same order, and this page tells you."),
    "over": _("It has ended, and nobody else gets in. Thank you for waiting."),
    "fallback": _("The shop has trouble answering. The line waits with you and goes on when the shop is back."),
}

BY_REASON = {
    Reason.RATE: _("More people want to get in than the shop can serve at once. It lets them in at a steady pace, in order."),
    Reason.ACTIVE: _("The shop is full. Whenever somebody leaves, the next one in line gets in."),
}
DRAW = _("You are in good time. When we open, a draw decides the order of all who are here; who came first does not matter.")
BESIDE_DRAW = _("You are in good time, and your place among those invited is kept. The draw decides the order of the others.")
ENTERED = _("You are in.")
NO_PLACE_YET = _("We cannot give out places in line right now. This page keeps trying and takes one for you as soon as it can.")

# What the page's script says by itself.
SENT = {
    "kept": _("You sent a form. It is kept on this page: once you are in, you can send it again with one press."),
    "lost": _("You sent a form. It was not passed on and could not be kept: once you are in, please fill it in again."),
}
NOT_RESENT = (_("Please fill it in again"), _("The form that you sent before is not kept any more. Nothing was sent."))
RESEND = _("You came here by sending a form. It was not passed on, so please send it once more.")
LOST = _("We cannot reach the shop from here. Is your device online? Your place is kept.")
COOKIES = _("Your browser refuses cookies, so we cannot keep your place. Please allow them, then reload.")
WAIT = _("Expected wait: {span}")
OPENS = _("We open in {span}")
HERE = _("People here: {n}")
LEFT = _("About {n} left.")
FEW = _("More people are ahead of you than are left.")
DRAWN = _("You were drawn: place {n} of {m}.")
KEEP = _(
    "You can close this tab: your place is kept for this browser. If your turn comes meanwhile, you get in when you return."
)
NUMBERED = _("Your number: {n}")
RETURN = _("Come back to this tab to go in. Your place is kept until {time}.")
NEXT = _("This page asks again in {n} s.")
ASKING = _("Asking …")

# An invitation, and why one does not count.
INVITED = (_("You are invited"), _("Go on to take the place that is meant for you."))
GO_ON = _("Go on")
UNINVITED = {
    "over": _("This invitation is over"),
    "unknown": _("This is no invitation of ours"),
    "used": _("This invitation is used up"),
}
AS_EVERYBODY = _("You can take a place in the line as everybody does.")
JOIN = _("To the line")

TRY_AGAIN = _("Try again")
HOME = _("To the shop")

# Notices: heading, sentence.
LIMITED = (_("That was too often"), _("You asked for this very often in a short time. Please try again in {n} s."))
SHED = (_("Switched off for now"), _("So many people are here that we have put this part aside. Buying still works."))
REFUSED: dict[int, tuple[str, str]] = {
    400: (_("We could not read that"), _("The request was not in a form that we can pass on safely.")),
    403: (_("Not from here"), _("This form belongs to the shop and cannot be sent from another site.")),
    404: (_("Nothing here"), _("There is no such page.")),
    405: (_("That does not work here"), _("This address does not understand that kind of request.")),
    413: (_("That is too large"), _("What was sent is larger than the shop accepts.")),
    415: (_("We could not read that"), _("The request was not in a form that we can pass on safely.")),
    421: (_("Wrong address"), _("There is no shop under this name here.")),
    422: (_("That is no e-mail address"), _("Please look at it once more; a complete address looks like name@example.com.")),
    503: (_("Not at the moment"), _("This is not possible right now. Please try again in a moment.")),
}
REFUSED[408] = REFUSED[411] = REFUSED[415] = REFUSED[417] = REFUSED[400]
REFUSED[414] = REFUSED[431] = REFUSED[413]
REFUSED[501] = REFUSED[405]
KEPT = (_("Thank you"), _("We write to you once when the shop is back."))
NOT_KEPT = (
    _("That did not work"),
    _("We could not store your address, so we cannot write to you. Please try again later."),
)
