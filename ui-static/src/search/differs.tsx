// SPDX-License-Identifier: Apache-2.0
// What differs: which attributes are more, or less, frequent inside of the box than outside.
import { useApi } from '../api/client.ts';
import { attributeName } from '../lib/links.ts';
import { formatCount, formatPercent, plural } from '../lib/units.ts';
import { IconButton } from '../ui/button.tsx';
import { Answer, Note } from '../ui/states.tsx';
import { UNBOUNDED, type UrlBox } from './heat.ts';
import { typedLiteral } from './querybox.tsx';

interface Compared {
  attrs: { scope: 'span' | 'resource' | 'intrinsic'; key: string; score: number; values: { v: string; type: string; sel: number; base: number; n_sel: number; n_base: number }[] }[];
  n_sel: number;
  n_base: number;
  sampled_sel: number;
  sampled_base: number;
  complete: boolean;
}

const name = (a: Compared['attrs'][number]): string => (a.scope === 'intrinsic' ? a.key : attributeName(a.scope, a.key));
const isWord = (a: Compared['attrs'][number]): boolean => a.scope === 'intrinsic' && (a.key === 'kind' || a.key === 'status');
const SHOWN = 4;

export function Differs({ q, box, from, to, isOld, onCondition }: { q: string; box: UrlBox; isOld: boolean; from: string; to: string; onCondition: (condition: string) => void }) {
  const answer = useApi<Compared>('/attributes/compare', {}, {
    still: true,
    body: { from, to, q, box: { t0: box[0], t1: box[1], d0: box[2], d1: box[3] === UNBOUNDED ? null : box[3] }, limit: 20 },
  });
  return (
    <section class="card differs" aria-label="What differs">
      <header>
        <h2>What differs</h2>
        {answer.data !== undefined && (
          <span class="dim">
            {formatCount(answer.data.n_sel)} in the box against {formatCount(answer.data.n_base)}
          </span>
        )}
      </header>
      <div class="scroll">
        <Answer of={isOld && answer.data !== undefined ? { ...answer, error: undefined } : answer}>
          {(d) => {
            const shown = d.attrs.filter((a) => a.score >= 0.02);
            return (
              <>
                {!d.complete && <Note kind="warn">Not all spans could be looked at.</Note>}
                {d.n_sel === 0 && <p class="dim pad">No span lies in the box.</p>}
                {d.n_sel > 0 && shown.length === 0 && <p class="dim pad">Nothing sets the spans in the box apart.</p>}
                {shown.length > 0 && (
                  <div class="differs-value differs-head" aria-hidden="true">
                    <span />
                    <span>
                      <b>in the box</b>
                      <span>others</span>
                    </span>
                  </div>
                )}
                {shown.map((a) => (
                  <div key={name(a)} class="differs-attr">
                    <h3 class="cut" title={name(a)}>
                      {a.scope === 'resource' && <span class="dim">resource.</span>}
                      {a.key}
                    </h3>
                    {a.values.slice(0, SHOWN).map((v) => {
                      const literal = isWord(a) ? v.v : typedLiteral(v.type, v.v);
                      return (
                        <div key={v.type + v.v} class="differs-value">
                          <span class="cut mono" title={v.v}>
                            {v.v === '' ? '(empty)' : v.v}
                          </span>
                          <span class="differs-bars" title={`${formatPercent(v.sel)} of those in the box, ${formatPercent(v.base)} of the others`}>
                            <span class="sel" style={{ width: `${v.sel * 100}%` }} />
                            <span class="base" style={{ width: `${v.base * 100}%` }} />
                          </span>
                          <span class="differs-shares num">
                            <b>{formatPercent(v.sel)}</b>
                            <span class="dim">{formatPercent(v.base)}</span>
                          </span>
                          <span class="differs-acts">
                            <IconButton icon="include" label={`Only ${a.key} = ${v.v}`} onClick={() => onCondition(`${name(a)} = ${literal}`)} />
                            <IconButton icon="exclude" label={`Without ${a.key} = ${v.v}`} onClick={() => onCondition(`${name(a)} != ${literal}`)} />
                          </span>
                        </div>
                      );
                    })}
                    {a.values.length > SHOWN && <p class="dim small">{plural(a.values.length - SHOWN, 'more value')}</p>}
                  </div>
                ))}
                {d.sampled_base < d.n_base && d.n_base > 0 && (
                  <p class="dim small pad">
                    Shares of {formatCount(d.sampled_sel)} and {formatCount(d.sampled_base)} spans, taken evenly.
                  </p>
                )}
              </>
            );
          }}
        </Answer>
      </div>
    </section>
  );
}
