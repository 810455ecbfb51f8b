# SPDX-License-Identifier: Apache-2.0
"""What inventory thinks with: servers, flavors, images, who may take what, and import files. Pure values and rules."""
