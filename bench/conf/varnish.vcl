vcl 4.1;

# What memory hits are compared with, beside nginx: Varnish before the same CDN, all objects in memory. Tuned
# for the load at hand: one thread pool for the one core that it has, no gzip (the objects are images), no log
# reader. What it does for a hit is otherwise as it comes.

backend cdn {
    .host = "127.0.0.1";
    .port = "@CDN_PORT@";
}

sub vcl_recv {
    # The same for all: no cookie and no other header parts them.
    unset req.http.Cookie;
}

sub vcl_backend_response {
    set beresp.ttl = 1h;
}

sub vcl_deliver {
    if (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
    } else {
        set resp.http.X-Cache = "MISS";
    }
}
