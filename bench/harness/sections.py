"""The sections, in the order in which they run and RESULTS.md tells them. Each is a module with
`run(binaries, work, options, say)`, which gives an `Outcome`."""

from . import (
    blackout,
    connections,
    fallback,
    growth,
    healing,
    hits,
    memory,
    overload,
    owners,
    presign,
    proxy,
    records,
    reload,
    signing,
    slow,
    slowloris,
    tail,
    tls,
)

SECTIONS = {
    "presign": presign,
    "signing": signing,
    "records": records,
    "proxy": proxy,
    "tls": tls,
    "hits": hits,
    "tail": tail,
    "fallback": fallback,
    "connections": connections,
    "memory": memory,
    "healing": healing,
    "blackout": blackout,
    "slow": slow,
    "reload": reload,
    "slowloris": slowloris,
    "overload": overload,
    "owners": owners,
    "growth": growth,
}
