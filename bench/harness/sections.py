"""The sections, in the order in which they run and RESULTS.md tells them. Each is a module with
`run(binaries, work, options, say)`, which gives an `Outcome`."""

from . import (
    blackout,
    connections,
    fallback,
    healing,
    hits,
    memory,
    overload,
    owners,
    presign,
    proxy,
    records,
    reload,
    slow,
    slowloris,
)

SECTIONS = {
    "presign": presign,
    "records": records,
    "proxy": proxy,
    "hits": hits,
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
}
