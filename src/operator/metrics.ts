/** Prometheus metrics. Names and units by its conventions; labels are bounded: phases, reasons and watched namespaces. */
import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** What is counted when it is asked for, not when it changes. */
export interface Gauges {
  readonly executions: ReadonlyMap<string, number>;
  /** By the name of the operator that holds them. */
  readonly heldElsewhere: ReadonlyMap<string, number>;
  readonly queueDepth: number;
  readonly watchRestarts: number;
  readonly eventsDropped: number;
}

const modelsMax = 100;

export class Metrics {
  readonly registry = new Registry();
  readonly reconcileSeconds = new Histogram({
    name: "oao_reconcile_duration_seconds",
    help: "Time of one pass over one Execution.",
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30],
    registers: [this.registry],
  });
  readonly reconcileErrors = new Counter({
    name: "oao_reconcile_errors_total",
    help: "Passes that failed and are made again, by the name of their error.",
    labelNames: ["error"],
    registers: [this.registry],
  });
  readonly tokens = new Counter({
    name: "oao_tokens_total",
    help: "Tokens of ended Executions; kind is input, output, lost or overshoot. Of the last two no model is known.",
    labelNames: ["namespace", "model", "kind"],
    registers: [this.registry],
  });
  readonly stopSeconds = new Histogram({
    name: "oao_stop_duration_seconds",
    help: "From the moment a stop is known (violation, cancellation, deadline) until no worker of the Execution is left.",
    labelNames: ["reason"],
    buckets: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 30],
    registers: [this.registry],
  });
  readonly #models = new Set<string>();
  readonly ended = new Counter({
    name: "oao_executions_ended_total",
    help: "Executions that ended, by phase and reason.",
    labelNames: ["phase", "reason"],
    registers: [this.registry],
  });
  readonly violations = new Counter({
    name: "oao_policy_violations_total",
    help: "Executions that a policy stopped, by which kind of rule.",
    labelNames: ["reason"],
    registers: [this.registry],
  });
  readonly retries = new Counter({
    name: "oao_node_retries_total",
    help: "Nodes that are tried again after a failure of their own, by the class of that failure.",
    labelNames: ["reason"],
    registers: [this.registry],
  });
  readonly losses = new Counter({
    name: "oao_worker_losses_total",
    help: "Workers that were lost and whose node is resumed, by reason.",
    labelNames: ["reason"],
    registers: [this.registry],
  });
  readonly apiSeconds = new Histogram({
    name: "oao_api_request_seconds",
    help: "Time of an answer of the HTTP API, streams from their first to their last byte.",
    labelNames: ["operation", "status"],
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 60],
    registers: [this.registry],
  });
  readonly leader = new Gauge({
    name: "oao_leader",
    help: "1 while this process leads.",
    registers: [this.registry],
  });
  #gauges: (() => Gauges) | undefined;

  constructor() {
    const now = (read: (gauges: Gauges) => number) => () => (this.#gauges === undefined ? 0 : read(this.#gauges()));
    const gauge = (name: string, help: string, read: (gauges: Gauges) => number) => {
      const value = now(read);
      new Gauge({
        name,
        help,
        registers: [this.registry],
        collect() {
          this.set(value());
        },
      });
    };
    const gauges = () => this.#gauges?.();
    new Gauge({
      name: "oao_executions",
      help: "Executions that exist, by phase.",
      labelNames: ["phase"],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [phase, count] of gauges()?.executions ?? []) this.set({ phase }, count);
      },
    });
    new Gauge({
      name: "oao_executions_held_elsewhere",
      help: "Executions of watched namespaces that another operator holds and this one leaves alone, by its name.",
      labelNames: ["operator"],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [operator, count] of gauges()?.heldElsewhere ?? []) this.set({ operator }, count);
      },
    });
    gauge("oao_workqueue_depth", "Executions that wait for a pass.", ({ queueDepth }) => queueDepth);
    gauge("oao_watch_restarts", "Watches that began again since the start.", ({ watchRestarts }) => watchRestarts);
    gauge("oao_events_dropped", "Kubernetes Events not told since the start.", ({ eventsDropped }) => eventsDropped);
  }

  /** Names of models are tenants' words: only so many become label values of their own. */
  modelLabel(name: string): string {
    if (this.#models.size < modelsMax) this.#models.add(name);
    return this.#models.has(name) ? name : "other";
  }

  /** Absent while this process does not lead. */
  follow(read: (() => Gauges) | undefined): void {
    this.#gauges = read;
  }
}
