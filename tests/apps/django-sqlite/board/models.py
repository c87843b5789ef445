"""What is pinned to the board."""

from django.db import models


class Note(models.Model):
    text = models.CharField(max_length=200)
    written_by = models.CharField(max_length=20)
