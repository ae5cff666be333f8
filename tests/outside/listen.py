"""Listens with httpx-sse and prints each event as a line of JSON. Arguments: the address, and perhaps the last event id."""

import json
import sys

import httpx
from httpx_sse import connect_sse

url, *position = sys.argv[1:]
headers = {"Last-Event-ID": position[0]} if position else {}
with httpx.Client(timeout=60, trust_env=False) as client, connect_sse(client, "GET", url, headers=headers) as source:
    for event in source.iter_sse():
        print(json.dumps({"event": event.event, "id": event.id, "data": event.json()}), flush=True)
