// What a dashboard of Maru may hold: Grafana's own types, closed, so that a field that Grafana does not know is an error.
import type * as grafana from "@grafana/schema";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen.d.ts";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen.d.ts";

// JSON says "lines" where TypeScript has an enumeration's member.
type Json<T> = T extends string ? `${T}` : T extends (infer E)[] ? Json<E>[] : T extends object ? { [K in keyof T]: Json<T[K]> } : T;

interface Source {
  type: "prometheus";
  uid: "${datasource}";
}

interface Query {
  refId: string;
  datasource: Source;
  editorMode: "code";
  expr: string;
  legendFormat: string;
  range: boolean;
  instant: boolean;
}

// All fields of a value that have a name of their own.
type Named<T> = { [K in keyof T as string extends K ? never : K]: T[K] };
type Common = "title" | "description" | "gridPos" | "id";

interface Shown<Kind extends string, Options, Custom> extends Required<Json<Pick<grafana.Panel, Common>>> {
  type: Kind;
  datasource: Source;
  targets: Query[];
  options: Json<Options>;
  fieldConfig: { defaults: Json<Omit<Named<grafana.FieldConfig>, "custom">> & { custom?: Json<Custom> }; overrides: never[] };
}

type Stat = Shown<"stat", stat.Options, never>;
type TimeSeries = Shown<"timeseries", timeseries.Options, Partial<timeseries.FieldConfig>>;
type Row = Json<Omit<grafana.RowPanel, "panels">> & { panels: never[] };

export interface Dashboard extends Omit<Json<grafana.Dashboard>, "panels"> {
  uid: string;
  title: string;
  panels: (Stat | TimeSeries | Row)[];
}
