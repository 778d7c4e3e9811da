"""Runs MCP's conformance suite for clients (npm @modelcontextprotocol/conformance) against `qwen7b.tools.McpServer`.

    python benchmarks/mcp_conformance.py [--suite "npx @modelcontextprotocol/conformance"] [--json]

The suite needs Node 22 or newer. It starts a server for each scenario and runs this file with the server's URL, which
then lists the tools, calls each and leaves. Prints a table of the scenarios and how many of their checks passed; exits
with 1 if a scenario fails that `EXPECTED_FAILURES` does not name, or passes that it names.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

EXPECTED_FAILURES = {
    "elicitation-sep1034-client-defaults": "questions of a server to the user are declined: nobody may be there",
    "auth/2025-03-26-oauth-metadata-backcompat": "its authorization server gives another name than its own",
    "auth/cross-app-access-complete-flow": "needs the identity provider of a company, which the caller would give",
}


def run_client(url: str) -> None:
    """Be the client of one scenario."""
    from qwen7b.tools import McpServer

    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    auth = make_auth(url, scenario, context) if scenario.startswith("auth/") else None
    with McpServer(url, auth=auth, call_seconds=20) as server:
        for tool in server.definitions:
            examples = {"number": 2, "integer": 2, "string": "x", "boolean": True}
            types = {name: schema.get("type") for name, schema in tool.schema.get("properties", {}).items()}
            print(tool.name, server.call(tool.name, {name: examples.get(type_) for name, type_ in types.items()}))


def make_auth(url: str, scenario: str, context: dict[str, Any]) -> Any:
    """The `mcp` package's own authorization, with a browser that agrees to everything."""
    import httpx2
    from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
    from mcp.client.auth.extensions.client_credentials import (
        ClientCredentialsOAuthProvider,
        PrivateKeyJWTOAuthProvider,
        SignedJWTParameters,
    )
    from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

    redirect_uri = "http://127.0.0.1:3030/callback"
    metadata = OAuthClientMetadata(client_name="qwen7b", redirect_uris=[redirect_uri])  # type: ignore[list-item]

    class Storage:
        tokens: OAuthToken | None = None
        client: OAuthClientInformationFull | None = None

        async def get_tokens(self) -> OAuthToken | None:
            return self.tokens

        async def set_tokens(self, tokens: OAuthToken) -> None:
            self.tokens = tokens

        async def get_client_info(self) -> OAuthClientInformationFull | None:
            return self.client

        async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
            self.client = client_info

    storage = Storage()
    if "private_key_pem" in context:
        signed = SignedJWTParameters(
            issuer=context["client_id"],
            subject=context["client_id"],
            signing_key=context["private_key_pem"],
            signing_algorithm=context["signing_algorithm"],
        )
        return PrivateKeyJWTOAuthProvider(url, storage, context["client_id"], signed.create_assertion_provider())
    if scenario.startswith("auth/client-credentials"):
        return ClientCredentialsOAuthProvider(url, storage, context["client_id"], context["client_secret"])
    if "client_id" in context:
        storage.client = OAuthClientInformationFull(
            client_id=context["client_id"],
            client_secret=context["client_secret"],
            redirect_uris=metadata.redirect_uris,
            token_endpoint_auth_method="client_secret_basic",
        )
    landed: dict[str, list[str]] = {}

    async def visit(address: str) -> None:
        async with httpx2.AsyncClient() as browser:
            response = await browser.get(address)
        landed.clear()
        landed.update(parse_qs(urlsplit(response.headers["location"]).query))

    async def return_code() -> AuthorizationCodeResult:
        given = {name: values[0] for name, values in landed.items() if name in ("code", "state", "iss")}
        return AuthorizationCodeResult(**given)

    page = "https://conformance-test.local/client-metadata.json"  # the name that the suite knows a client's page by
    return OAuthClientProvider(url, metadata, storage, visit, return_code, client_metadata_url=page)


def run_suite(suite: list[str]) -> dict[str, dict[str, Any]]:
    """Run all scenarios, and return for each how many checks there were, how many passed, and what the others said."""
    listed = subprocess.run([*suite, "list", "--client"], capture_output=True, text=True, check=True)
    results = {}
    for scenario in re.findall(r"^\s+- (\S+)", listed.stdout, re.MULTILINE):
        with tempfile.TemporaryDirectory() as folder:
            command = shlex.join([sys.executable, str(Path(__file__).resolve())])
            options = ["--command", command, "--scenario", scenario, "--output-dir", folder]
            subprocess.run([*suite, "client", *options], capture_output=True, timeout=120)
            checks = [
                each for path in Path(folder).rglob("checks.json") for each in json.loads(path.read_text("utf-8"))
            ]
        judged = [check for check in checks if check["status"] in ("SUCCESS", "FAILURE", "WARNING")]
        results[scenario] = {
            "checks": len(judged),
            "passed": sum(check["status"] == "SUCCESS" for check in judged),
            "failures": [f"{each['id']}: {each.get('errorMessage')}" for each in judged if each["status"] != "SUCCESS"],
        }
        if scenario in EXPECTED_FAILURES:
            results[scenario]["why it may fail"] = EXPECTED_FAILURES[scenario]
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="npx --yes @modelcontextprotocol/conformance", help="the suite's command")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("url", nargs="?", help="be the client of this server: what the suite does")
    options = parser.parse_args()
    if options.url:
        run_client(options.url)
        return
    results = run_suite(shlex.split(options.suite))
    if options.json:
        print(json.dumps(results, ensure_ascii=False, indent=2))
    else:
        for scenario, result in results.items():
            print(f"{scenario:45} {result['passed']:2} of {result['checks']:2}", *result["failures"], sep="  ")
    passed = {scenario for scenario, result in results.items() if result["checks"] and not result["failures"]}
    if unexpected := (results.keys() - passed) ^ EXPECTED_FAILURES.keys():
        sys.exit(f"not as expected: {', '.join(sorted(unexpected))}")


if __name__ == "__main__":
    main()
