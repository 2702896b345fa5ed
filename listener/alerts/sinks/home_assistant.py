"""Discovery of Home Assistant: each machine is a device with its entities, in one retained message.

The format is the device discovery of Home Assistant 2024.11 and later: topic ``<prefix>/device/<id>/config``, with the
device, the origin and the components. An empty message takes the device back.
"""

import hashlib
import json
import re
from typing import Any

STATES = ["normal", "alarm", "acknowledged", "unheard"]  # of a machine's alarm
ORIGIN = {"name": "signalml"}


def discovery_topic(prefix: str, machine_id: str) -> str:
    """Return the topic of a machine's discovery.

    Example:
        >>> discovery_topic("homeassistant", "fan/id_00")
        'homeassistant/device/signalml_fan_id_00_9e300b/config'
    """
    return f"{prefix}/device/{object_id(machine_id)}/config"


def object_id(machine_id: str) -> str:
    """Return an id of letters, digits and ``_`` that differs for different machines."""
    digest = hashlib.sha256(machine_id.encode()).hexdigest()[:6]
    return f"signalml_{re.sub('[^A-Za-z0-9_]', '_', machine_id)}_{digest}"


def discovery(machine_id: str, state_topic: str, availability_topics: list[str]) -> bytes:
    """Return the message that announces a machine.

    Args:
        machine_id: the machine.
        state_topic: topic of its state, a JSON object.
        availability_topics: topics with ``online`` or ``offline``; it is available if all are ``online``.
    """
    device = object_id(machine_id)
    values: dict[str, Any] = {
        "device": {"identifiers": [device], "name": machine_id, "manufacturer": "signalml", "model": "Machine"},
        "origin": ORIGIN,
        "components": {name: {**facts, "unique_id": f"{device}_{name}"} for name, facts in _components().items()},
        "state_topic": state_topic,
        "availability": [{"topic": each} for each in availability_topics],
        "availability_mode": "all",
        "qos": 1,
    }
    values["components"]["last_event"]["json_attributes_topic"] = state_topic
    return json.dumps(values, ensure_ascii=False).encode()


def _components() -> dict[str, dict[str, Any]]:
    return {
        "alarm": {
            "platform": "binary_sensor",
            "name": "Alarm",
            "device_class": "problem",
            "value_template": "{{ 'ON' if value_json.alarm else 'OFF' }}",
        },
        "state": {
            "platform": "sensor",
            "name": "State",
            "device_class": "enum",
            "options": STATES,
            "value_template": "{{ value_json.state }}",
        },
        "score": {
            "platform": "sensor",
            "name": "Score",
            "state_class": "measurement",
            "suggested_display_precision": 2,
            "value_template": "{{ value_json.score }}",
        },
        "last_event": {
            "platform": "sensor",
            "name": "Last event",
            "device_class": "timestamp",
            "value_template": "{{ value_json.last_event.began if value_json.last_event else None }}",
            "json_attributes_template": "{{ value_json.last_event | default({}, true) | tojson }}",
        },
    }
