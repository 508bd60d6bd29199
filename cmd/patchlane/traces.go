package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
)

const (
	// traceFlush bounds the sending of the last spans. A collector that is away
	// must not use up the time of a stop.
	traceFlush = 5 * time.Second
	// traceLineEvery is how often a collector that is away is told of.
	traceLineEvery = time.Minute
)

// tracesHelp is the part of --help about traces.
const tracesHelp = `

Traces are sent to the collector that OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT names, by OTLP over
HTTP; the other standard variables of OpenTelemetry hold too (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, ...). Without one of
the two there are none.`

// collectorNames are the variables that say where the collector is, the one for
// traces alone first.
func collectorNames() []string {
	return []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"}
}

// tracesWanted tells whether the environment asks for traces, and refuses what
// would be ignored in silence.
func tracesWanted(env func(string) string) (bool, error) {
	if strings.EqualFold(env("OTEL_SDK_DISABLED"), "true") || env("OTEL_TRACES_EXPORTER") == "none" {
		return false, nil
	}
	var problems []error
	wanted := false
	for _, name := range collectorNames() {
		at := env(name)
		if at == "" {
			continue
		}
		wanted = true
		u, err := url.Parse(at)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			// It is not repeated: it may hold a credential.
			problems = append(problems, errors.New(name+": no absolute http or https address"))
		}
	}
	if !wanted {
		return false, nil
	}
	if e := env("OTEL_TRACES_EXPORTER"); e != "" && e != "otlp" {
		problems = append(problems, fmt.Errorf("OTEL_TRACES_EXPORTER: %q is neither otlp nor none", e))
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if p := env(name); p != "" {
			if p != "http/protobuf" {
				problems = append(problems, fmt.Errorf("%s: %q is not http/protobuf, the one protocol that is spoken", name, p))
			}
			break
		}
	}
	return true, errors.Join(problems...)
}

// checkTraces refuses an environment that asks for traces in a way that would not
// give any.
func checkTraces() error {
	_, err := tracesWanted(os.Getenv)
	return err
}

// traces makes the provider of one role, or none when no collector is configured.
// What is wrong with the configuration was said by Validate; what goes wrong here
// all the same costs the traces, not the writes.
func (c *config) traces(ctx context.Context, role string, stop *teardown) trace.TracerProvider {
	if wanted, err := tracesWanted(os.Getenv); err != nil || !wanted {
		return nil
	}
	provider, err := c.newTraces(ctx, role, stop.logger)
	if err != nil {
		stop.logger.ErrorContext(ctx, "running without traces", "role", role, "err", err)
		return nil
	}
	// It comes after the step that ends the last span.
	stop.add(role+" traces", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, traceFlush)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			stop.logger.WarnContext(ctx, "last traces not sent", "err", err)
		}
		return nil
	})
	return provider
}

// newTraces makes what sends the spans of one role to the collector.
func (c *config) newTraces(ctx context.Context, role string, logger *slog.Logger) (*sdktrace.TracerProvider, error) {
	made, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("make the exporter: %w", err)
	}
	out := &exporter{SpanExporter: made, logger: logger, told: &rate.Sometimes{Interval: traceLineEvery}}
	// The environment goes before what is said here.
	process, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(self(role)...), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("describe the process: %w", errors.Join(err, made.Shutdown(ctx)))
	}
	return sdktrace.NewTracerProvider(sdktrace.WithBatcher(out), sdktrace.WithResource(process),
		sdktrace.WithRawSpanLimits(c.spanLimits())), nil
}

// self says which process the spans are of.
func self(role string) []attribute.KeyValue {
	return []attribute.KeyValue{
		semconv.ServiceName("patchlane-" + role),
		semconv.ServiceVersion(strings.TrimPrefix(version(), "patchlane ")),
		semconv.ServiceInstanceID(processName()),
	}
}

// spanLimits are those of the environment. A batch is linked with the trace of
// each of its entries, which are more than the 128 of the default.
func (c *config) spanLimits() sdktrace.SpanLimits {
	limits := sdktrace.NewSpanLimits()
	if os.Getenv("OTEL_SPAN_LINK_COUNT_LIMIT") == "" {
		limits.LinkCountLimit = max(limits.LinkCountLimit, c.BatchSize)
	}
	return limits
}

// exporter tells the log, now and then, that spans could not be sent. The SDK
// would print each time on a channel of its own.
type exporter struct {
	sdktrace.SpanExporter
	logger *slog.Logger
	told   *rate.Sometimes
}

// ExportSpans sends spans; those that cannot be sent are lost.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if err := e.SpanExporter.ExportSpans(ctx, spans); err != nil {
		e.told.Do(func() { e.logger.WarnContext(ctx, "traces not sent", "spans", len(spans), "err", err) })
	}
	return nil
}
