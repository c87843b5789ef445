"""`GET /` shows all notes, one a line; `POST /` pins its body as another one."""

import os

from django.conf import settings
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.http import require_http_methods

from .models import Note


def plain(text, status=200):
    return HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")


@require_http_methods(["GET", "POST"])
def board(request):
    if request.method == "POST":
        note = Note.objects.create(text=request.body.decode()[:200], written_by=os.environ.get("PAAS_RELEASE", "?"))
        return plain(f"{note.id} {note.text}\n", status=201)
    lines = [f"{note.text} ({note.written_by})" for note in Note.objects.order_by("id")]
    return plain("\n".join([settings.VERSION, *lines]) + "\n")


urlpatterns = [path("", board)]
