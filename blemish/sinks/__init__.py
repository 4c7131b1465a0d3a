"""Where a plant hears of inspections: webhook, MQTT and OPC UA."""

from blemish.sinks.delivery import Courier, Sink
from blemish.sinks.mqtt import MqttSink
from blemish.sinks.opcua import OpcUaServer
from blemish.sinks.webhook import WebhookSink

__all__ = ["Courier", "MqttSink", "OpcUaServer", "Sink", "WebhookSink"]
