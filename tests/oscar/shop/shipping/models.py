from oscar.apps.shipping.models import *  # noqa: F403 - how an Oscar app is forked
