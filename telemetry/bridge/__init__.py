# SPDX-License-Identifier: Apache-2.0
"""In place of Contrail's ``ironic-notification-manager``: Ironic's nodes and ports as `IronicNode` UVEs.

notifications  what each of Ironic's notifications is, and what follows from it
fields         Ironic's JSON -> the UVE's fields
register       the newest word on a thing, whichever way and in whatever order it came
fleet          nodes and their ports -> UVEs
conf           the old daemon's configuration file, read unchanged
login, ironic  Ironic's API, page by page
listening      RabbitMQ, and whose turn it is
wording        a notification as an object log
bridge         one at work: what is heard and listed becomes what its generator tells
app            all of it, run; one active of several
"""
