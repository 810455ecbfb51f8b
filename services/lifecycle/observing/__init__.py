# SPDX-License-Identifier: Apache-2.0
"""What others do to our servers in their controller, Ironic: seen, told, explained and acted on."""
