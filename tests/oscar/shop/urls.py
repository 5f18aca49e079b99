from django.apps import apps
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import include, path


def front(request: HttpRequest) -> HttpResponse:
    """Oscar's own listing needs a search engine; two products do not."""
    from oscar.apps.partner.models import StockRecord

    return render(request, "front.html", {"stock": StockRecord.objects.select_related("product").order_by("product__title")})


def health(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain")


urlpatterns = [
    path("", front),
    path("healthz", health),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include(apps.get_app_config("oscar").urls[0])),
]
