"""All that a Django shop needs to work well with the gate: give the seat back when the order is in."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

Handler = Callable[[HttpRequest], HttpResponse]


def give_seat_back(get_response: Handler) -> Handler:
    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        match = request.resolver_match
        if match is not None and match.view_name == "checkout:thank-you" and response.status_code == 200:
            response["Gate-Command"] = "release"
        return response

    return middleware
