# The filter, as files to copy or to mount from: `COPY --from=canary-filter /canary_filter_headers.wasm …`, an image
# volume in Kubernetes, an init container's source. Nothing in it runs.
FROM scratch
COPY dist/canary_filter.wasm dist/canary_filter_headers.wasm /
