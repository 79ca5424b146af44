import type { Ref } from "react";

interface Props {
  ref: Ref<HTMLInputElement>;
  draft: string;
  setDraft: (draft: string) => void;
  add: () => void;
}

export function AddForm({ ref, draft, setDraft, add }: Props) {
  return (
    <form
      className="add"
      onSubmit={(event) => {
        event.preventDefault();
        add();
      }}
    >
      <label htmlFor="add">What needs doing?</label>
      <input
        id="add"
        dir="auto"
        ref={ref}
        value={draft}
        onChange={(event) => setDraft(event.target.value)}
        autoComplete="off"
        enterKeyHint="done"
      />
      <button type="submit" className="primary">
        Add
      </button>
    </form>
  );
}
