// A table whose cells are parts of one template, so that an update changes them in place. Cells that are slots of
// NiceGUI's own table are built anew at each update: a keyboard would lose its place every time.
export default {
  template: `
    <q-table :rows="rows" :columns="columns">
      <template v-slot:header-selection="scope">
        <q-checkbox v-model="scope.selected" aria-label="Select all rows" />
      </template>
      <template v-slot:body-selection="scope">
        <q-checkbox v-model="scope.selected" :aria-label="'Select ' + scope.row.title" />
      </template>
      <template v-slot:body-cell="scope">
        <q-td :props="scope" :data-label="scope.col.label" :class="'gantry-cell-' + scope.col.kind">
          <a v-if="scope.col.kind === 'link'" class="gantry-link" :href="scope.row.href">{{ of(scope) }}</a>
          <template v-else-if="scope.col.kind === 'badge'">
            <q-badge :color="of(scope, '_colour')" class="q-pa-xs">{{ of(scope) }}</q-badge>
            <span class="gantry-why" v-if="of(scope, '_why')" :title="of(scope, '_why')">{{ of(scope, '_why') }}</span>
          </template>
          <div v-else-if="scope.col.kind === 'bar'" class="gantry-bar">
            <q-linear-progress :value="scope.row.fraction" rounded size="8px"
              :aria-label="'Progress of ' + scope.row.title" />
            <span class="text-xs">{{ of(scope) }}</span>
          </div>
          <img v-else-if="scope.col.kind === 'image'" class="gantry-thumb" loading="lazy" width="116" height="58"
            :src="of(scope)" :alt="'Last preview of ' + scope.row.title">
          <img v-else-if="scope.col.kind === 'spark'" class="gantry-spark" loading="lazy" width="98" height="38"
            :src="of(scope)" :alt="'Losses of ' + scope.row.title">
          <template v-else-if="scope.col.kind === 'links'">
            <a v-for="link in of(scope)" :key="link.href" class="gantry-link q-mr-md" :href="link.href"
              :aria-label="link.text + ' of ' + scope.row.title" download>{{ link.text }}</a>
          </template>
          <q-btn v-else-if="scope.col.kind === 'button' && of(scope)" outline dense no-caps color="primary"
            class="q-px-sm" :label="of(scope)" :aria-label="of(scope) + ' ' + scope.row.title"
            @click="$emit(scope.col.name, scope.row.id)" />
          <span v-else-if="scope.col.kind === 'text'">{{ of(scope) }}</span>
        </q-td>
      </template>
    </q-table>
  `,
  props: { rows: Array, columns: Array },
  methods: {
    of(scope, suffix = "") {
      return scope.row[scope.col.name + suffix];
    },
  },
};
