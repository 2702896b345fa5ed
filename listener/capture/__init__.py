"""Readers of sources: from devices, streams, folders, pipes and MQTT to blocks of samples."""
