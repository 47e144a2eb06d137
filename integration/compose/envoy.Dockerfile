# Envoy with the filter and the configuration of the compose network. The paths in the shipped files are relative to the
# folder that holds envoy/ and dist/, so they are the same here as in a checkout.
ARG BASE=envoyproxy/envoy:v1.40.0
ARG FILTER=canary-filter:0.1.0
FROM ${FILTER} AS filter
FROM ${BASE}
WORKDIR /srv/canary
COPY --from=filter /canary_filter.wasm /canary_filter_headers.wasm dist/
COPY envoy/ecds.yaml envoy/
COPY integration/compose/envoy.yaml envoy/
# These versions answer within milliseconds, so the rollouts needn't wait for outcomes to become known.
RUN sed -i 's/"weight": 0/"outcome_age": "1s", &/' envoy/ecds.yaml && grep -q outcome_age envoy/ecds.yaml
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/envoy"]
CMD ["-c", "envoy/envoy.yaml", "--log-level", "warning", "--component-log-level", "wasm:info", "--disable-hot-restart"]
