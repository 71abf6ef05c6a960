# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with an API server, and what to say of it. PRIVATE to this collection."""

from __future__ import annotations

import json
import re

try:
    import urllib3
except ImportError:  # AnsibleK8SModule reports it, with the package's name
    pass


class ClusterError(Exception):
    """The cluster cannot be reached, or it refused. The text is for the user.

    passing: it may be over soon, as after a restart or an overload of the API server.
    """

    passing = False


class Refused(ClusterError):
    """The API server answered with an error status."""

    def __init__(self, message: str, status: int, body: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = body
        self.passing = status == 429 or status >= 500


class Unreachable(ClusterError):
    """No answer from the API server."""

    passing = True


class Expired(ClusterError):
    """What the request goes on from, a resource version or a page, is too old: list again."""

    passing = True


def unreachable(server: str, error: BaseException) -> ClusterError:
    """One message for whatever kept an answer from coming."""
    reason = str(getattr(error, "reason", None) or error)
    reason = re.sub(r"^(<.*?>|HTTPS?Connection\(.*?\)): ", "", reason)  # urllib3 puts the connection first
    if "CERTIFICATE_VERIFY_FAILED" in reason or isinstance(error, urllib3.exceptions.SSLError):
        return ClusterError(
            f"the certificate of {server} cannot be verified: {reason}; next: give the cluster's CA with ca_cert "
            f"(K8S_AUTH_SSL_CA_CERT) or in the kubeconfig; see it with: openssl s_client -showcerts -connect "
            f"{server.split('://')[-1]}"
        )
    return Unreachable(
        f"the cluster at {server} cannot be reached: {reason}; is this the right cluster, and is it running; "
        f"next: kubectl --server {server} version"
    )


def refused(server: str, method: str, path: str, status: int, body: str) -> Refused:
    """One message for an error status; the API server's own text names user, verb and resource."""
    try:
        said = json.loads(body).get("message") or body
    except (ValueError, AttributeError):
        said = body.strip()[:300]
    if status == 401:
        message = (
            f"{server} does not know who asks ({method} {path}: {said}): the token or certificate is missing, "
            "expired or from another cluster; next: kubectl auth whoami"
        )
    elif status == 403:
        message = (
            f"{server} forbids {method} {path}: {said}; "
            "next: ask for that permission, or check who you are: kubectl auth whoami"
        )
    else:
        message = f"{server} answered {method} {path} with {status}: {said}"
    return Refused(message, status, body)


__all__ = ("ClusterError", "Expired", "Refused", "Unreachable", "refused", "unreachable")
