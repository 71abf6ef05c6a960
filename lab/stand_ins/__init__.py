# SPDX-License-Identifier: Apache-2.0
"""Small programs that play NFD, KMM and OLM in the lab. They are not shipped, and they are not those projects."""
